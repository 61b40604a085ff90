"""A suite: the matrix of arms and workloads, and the criteria decided on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fedbench.configfile import nearest
from fedbench.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedbench.ids import Mode
    from fedbench.loop import LoopName
    from harness.gate.criteria import Criterion

Tree = Literal["arm", "cell"]


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """A workload as a suite runs it.

    Attributes:
        name: Its name in the suite.
        kind: Which workload.
        params: All of its parameters.
        blocks: Blocks it takes part in, None for all.
    """

    name: str
    kind: str
    params: dict[str, Any]
    blocks: int | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """A system under test as a suite runs it.

    Attributes:
        name: Its name in the suite.
        stack: Which system.
        loop: Event loop.
        settings: Settings of that system.
        workloads: Names of the workloads it runs, in order.
        control_of: Arm that this one repeats (A/A), empty for none.
        blocks: Blocks it takes part in, None for all.
        sweep_value: Value of the sweep's setting where the sweep made this arm.
    """

    name: str
    stack: str
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
    """

    name: str
    title: str
    mode: Mode
    blocks: int
    tree: Tree
    arms: dict[str, Arm]
    workloads: dict[str, WorkloadSpec]
    criteria: tuple[Criterion, ...]
    dropped: tuple[str, ...] = field(default=())

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
        kept_criteria = tuple(c for c in self.criteria if _measurable(c, arms))
        dropped = tuple(c.id for c in self.criteria if c not in kept_criteria)
        return replace(self, arms=arms, criteria=kept_criteria, dropped=dropped)

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
            touched = [name for name, w in workloads.items() if where in ("", name) and parameter in w.params]
            if not equals or not touched:
                known = sorted({p for w in workloads.values() for p in w.params})
                hint = nearest(parameter, known) if equals else "; write param=value or workload.param=value"
                problems.append(Problem(assignment, f"changes nothing{hint}"))
                continue
            for name in touched:
                params = dict(workloads[name].params)
                try:
                    params[parameter] = _convert(text, params[parameter])
                except ValueError as error:
                    problems.append(Problem(assignment, str(error)))
                workloads[name] = replace(workloads[name], params=params)
        if problems:
            raise ConfigError("--set", problems)
        return replace(self, workloads=workloads)


def _measurable(criterion: Criterion, arms: Mapping[str, Arm]) -> bool:
    def runs(arm: str, workload: str) -> bool:
        return not workload or (arm in arms and workload in arms[arm].workloads)

    if criterion.kind == "equal":
        return sum(criterion.workload in arm.workloads for arm in arms.values()) > 1
    sides = [(criterion.arm, criterion.workload)]
    if criterion.kind in ("reduction", "ratio"):
        sides += [(criterion.against, criterion.other_workload), (criterion.against, criterion.valid_if)]
    if criterion.kind == "frontier":
        points = [arm for arm in arms if arm.startswith(f"{criterion.against}@")]
        sides += [(arm, w) for arm in points for w in (criterion.workload, criterion.workload2)]
        return bool(points) and all(runs(*side) for side in sides)
    return all(runs(*side) for side in sides)


def _convert(text: str, current: Any) -> Any:
    try:
        if isinstance(current, bool):
            return {"true": True, "false": False}[text.lower()]
        value = type(current)(text)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[type(current)]
        raise ValueError(f"expected {expected}, found {text!r}") from None
    if isinstance(value, int | float) and value < 0:
        raise ValueError(f"{value} is below 0")
    return value
