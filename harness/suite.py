"""A suite: the matrix of arms and workloads, and the criteria decided on it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fedbench.configfile import nearest
from fedbench.errors import ConfigError, Problem

# Not for types alone: msgspec reads a suite back by them when a run is resumed.
from fedbench.ids import Mode  # noqa: TC001
from fedbench.loop import LoopName  # noqa: TC001
from harness.acceptance.criteria import EXACT, Criterion
from harness.acceptance.sequence import ALPHA, CONFIRMING, least_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tree = Literal["arm", "cell"]


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """A workload as a suite runs it.

    Attributes:
        name: Its name in the suite.
        kind: Which workload.
        params: All of its parameters.
        blocks: Blocks it takes part in, None for all.
        timeout_s: Seconds after which one cell has gone wrong, None for what follows from its work.
        swept: Parameters that a sweep has set; they stand behind the ``@`` in its name.
    """

    name: str
    kind: str
    params: dict[str, Any]
    blocks: int | None = None
    timeout_s: float | None = None
    swept: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """Its name without the point of a sweep."""
        return self.name.partition("@")[0] if self.swept else self.name


@dataclass(frozen=True, slots=True)
class Arm:
    """A system under test as a suite runs it.

    Attributes:
        name: Its name in the suite.
        stack: Which system.
        mode: How its nodes are joined.
        loop: Event loop.
        settings: Settings of that system.
        workloads: Names of the workloads it runs, in order.
        control_of: Arm that this one repeats (A/A), empty for none.
        blocks: Blocks it takes part in, None for all.
        sweep_value: Value of the sweep's setting where the sweep made this arm.
    """

    name: str
    stack: str
    mode: Mode
    loop: LoopName
    settings: dict[str, Any]
    workloads: tuple[str, ...]
    control_of: str = ""
    blocks: int | None = None
    sweep_value: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """What to run and what must hold.

    Attributes:
        tree: ``arm``: one process tree runs all workloads of an arm; ``cell``: one for each.
        blocks: Blocks of the last look at its criteria.
        dropped: Criteria that a selection has left without their cells.
        budget_s: Seconds after which no further worker is started, None for no limit.
        looks: Blocks of each look, increasing; empty for one look after all blocks.
        time_s: Seconds after which no further block begins, None for no limit.
    """

    name: str
    title: str
    blocks: int
    tree: Tree
    arms: dict[str, Arm]
    workloads: dict[str, WorkloadSpec]
    criteria: tuple[Criterion, ...]
    dropped: tuple[str, ...] = field(default=())
    budget_s: float | None = None
    looks: tuple[int, ...] = ()
    time_s: float | None = None

    @property
    def first_look(self) -> int:
        """Blocks in which every cell takes part, shown or decided."""
        return self.looks[0] if self.looks else self.blocks

    @property
    def most_blocks(self) -> int:
        """Blocks there can be: those of the last look, and those that confirm a fail."""
        return self.blocks + CONFIRMING * bool(self.criteria)

    def looks_of(self, criterion: Criterion) -> tuple[int, ...]:
        """Return after how many of its blocks a criterion is looked at.

        Cells that take part in few blocks bound what an exact kind asks for. A suite with one look looks at
        others as soon as these blocks can decide; one with several lets its cells go on.
        """
        limits = [
            limit
            for arm, workload in cells_of(criterion, self.arms)
            if arm in self.arms and workload != criterion.valid_if
            for limit in (self.arms[arm].blocks, self.workloads[workload].blocks)
            if limit is not None
        ]
        most = min(limits, default=self.blocks)
        if criterion.kind in EXACT:
            return (min(most, self.first_look),)
        if self.looks:
            return self.looks
        return (min(max(most, least_blocks(ALPHA)), self.blocks),)

    @property
    def again(self) -> dict[tuple[str, str], str]:
        """The arm that repeats an arm under a workload (A/A), by both."""
        return {
            (arm.control_of, workload): name
            for name, arm in self.arms.items()
            if arm.control_of
            for workload in arm.workloads
        }

    @property
    def modes(self) -> str:
        """The modes of its arms, joined by ``+``."""
        return "+".join(dict.fromkeys(arm.mode for arm in self.arms.values()))

    def select(self, pattern: str) -> Suite:
        """Return the suite with only the cells whose ``arm/workload`` matches a regular expression.

        Criteria that lose a cell are dropped and listed in ``dropped``.

        Raises:
            ConfigError: The pattern is not a regular expression.
        """
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise ConfigError(
                "-k", [Problem("", f"{pattern!r} is no regular expression: {error}")]
            ) from error
        arms = {}
        for name, arm in self.arms.items():
            kept = tuple(w for w in arm.workloads if regex.search(f"{name}/{w}"))
            if kept:
                arms[name] = replace(arm, workloads=kept)
        left = {(name, workload) for name, arm in arms.items() for workload in arm.workloads}
        whole = tuple(c for c in self.criteria if left.issuperset(cells_of(c, self.arms)))
        dropped = tuple(c.id for c in self.criteria if c not in whole)
        return replace(self, arms=arms, criteria=whole, dropped=(*self.dropped, *dropped))

    def override(self, assignments: Sequence[str]) -> Suite:
        """Return the suite with parameters changed: ``param=value`` everywhere, or ``workload.param=value``.

        Raises:
            ConfigError: With every assignment that is malformed or names nothing.
        """
        problems: list[Problem] = []
        workloads = dict(self.workloads)
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            where, _, parameter = key.rpartition(".")
            asked = [w for w in workloads.values() if where in ("", w.name, w.base)]
            touched = [w for w in asked if parameter in w.params and parameter not in w.swept]
            if not equals or not touched:
                hint = self._hint(where, parameter) if equals else "; write [workload.]param=value"
                problems.append(Problem(assignment, f"changes nothing{hint}"))
                continue
            try:
                changed = [
                    replace(w, params={**w.params, parameter: _convert(parameter, text, w.params[parameter])})
                    for w in touched
                ]
            except ValueError as error:
                problems.append(Problem(assignment, str(error)))
                continue
            workloads |= {w.name: w for w in changed}
        if problems:
            raise ConfigError("--set", problems)
        return replace(self, workloads=workloads)

    def limit(self, timeout_s: float | None) -> Suite:
        """Return the suite with the same timeout, in seconds, for every cell; None for none."""
        workloads = {name: replace(w, timeout_s=timeout_s) for name, w in self.workloads.items()}
        return replace(self, workloads=workloads)

    def _hint(self, where: str, parameter: str) -> str:
        if where and not any(where in (w.name, w.base) for w in self.workloads.values()):
            return f": unknown workload {where!r}{nearest(where, list(self.workloads))}"
        asked = [w for w in self.workloads.values() if where in ("", w.name, w.base)]
        if any(parameter in w.swept for w in asked):
            return f": {parameter} is swept; select the points with -k"
        return nearest(parameter, sorted({name for w in asked for name in w.params}))


def modes_of(criterion: Criterion, arms: Mapping[str, Arm]) -> str:
    """Return the mode of a criterion's arms; several are joined by ``+``."""
    names = sorted(cells_of(criterion, arms))
    return "+".join(dict.fromkeys(arms[name].mode for name, _ in names if name in arms))


def cells_of(criterion: Criterion, arms: Mapping[str, Arm]) -> set[tuple[str, str]]:
    """Return the cells that a criterion rests on, each as ``(arm, workload)``."""
    c = criterion
    if c.kind == "equal":
        return {(name, c.workload) for name, arm in arms.items() if c.workload in arm.workloads}
    cells = {(c.arm, c.workload)}
    sides = [c.arm, c.against] if c.against else [c.arm]
    if c.kind in ("reduction", "ratio"):
        cells.add((c.against, c.other_workload))
    if c.kind == "frontier":
        points = [name for name in arms if name.startswith(f"{c.against}@")]
        cells |= {(name, w) for name in (c.arm, *points) for w in (c.workload, c.workload2)}
    return cells | {(name, c.valid_if) for name in sides if c.valid_if}


def least(parameter: str) -> int:
    """Return the least value of a whole-number parameter: 1, but for what may well be none at all."""
    return 0 if parameter in ("warmup", "seed") else 1


def _convert(name: str, text: str, current: Any) -> Any:
    if not text:
        raise ValueError("expected a value, found nothing")
    try:
        if isinstance(current, bool):
            return {"true": True, "false": False}[text.lower()]
        value = type(current)(text)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[type(current)]
        raise ValueError(f"expected {expected}, found {text!r}") from None
    if isinstance(value, int) and value < least(name):
        raise ValueError(f"{value} is below {least(name)}")
    if isinstance(value, float) and not 0 < value < math.inf:
        raise ValueError(f"{value} is out of range: more than 0 is needed")
    return value
