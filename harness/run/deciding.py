"""What a run knows so far, and what it still has to measure. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.acceptance.control import control
from harness.acceptance.criteria import EXACT
from harness.acceptance.decide import Decision, Sizes, decide
from harness.acceptance.samples import Samples
from harness.records.summary import is_quiet
from harness.run.plan import ArmRun, shown_cells
from harness.suite import modes_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from harness.records.schema import Control, Observation
    from harness.suite import Suite

HOPELESS = 2
"""Blocks in a row of which hardly a cell was quiet, after which a run gives up."""
HOPELESS_SHARE = 0.9
"""Share of the cells that were disturbed where hardly one was quiet."""
AGAIN_SHARE = 0.5
"""Share of a block that may be void and is run again; where more is, the machine is busy, not unlucky."""


@dataclass(frozen=True, slots=True)
class State:
    """What is decided.

    Attributes:
        decisions: One for each criterion.
        controls: A/A controls of the criteria's metrics.
    """

    decisions: list[Decision]
    controls: list[Control]

    @property
    def decided(self) -> int:
        """How many criteria have passed or failed for good."""
        return sum(not d.needed and d.record.verdict in ("pass", "fail") for d in self.decisions)

    @property
    def waits(self) -> bool:
        """Whether any criterion waits for more blocks."""
        return any(d.needed for d in self.decisions)

    @property
    def wanted(self) -> set[tuple[str, str]]:
        """The cells that undecided criteria wait for."""
        return {cell for d in self.decisions for cell in d.needed}

    @property
    def wanted_quiet(self) -> set[tuple[str, str]]:
        """Those of them that have to be quiet: an answer that is exact counts on a busy machine, too."""
        return {cell for d in self.decisions if d.record.kind not in EXACT for cell in d.needed}


def state_of(suite: Suite, observations: Iterable[Observation], *, over: bool, why: str = "") -> State:
    """Decide every criterion on what there is.

    Args:
        suite: The suite.
        observations: What was measured.
        over: Whether no more will come.
        why: Why not, and how there could be more.
    """
    samples = Samples(observations)
    again = suite.again

    def controls(key: tuple[str, str, str], blocks: Collection[int]) -> Control | None:
        arm, workload, metric = key
        other = again.get((arm, workload))
        return control(samples, arm, other, workload, metric, within=blocks) if other else None

    decisions = [
        decide(
            c,
            samples,
            controls,
            mode=modes_of(c, suite.arms),
            sizes=Sizes(suite.looks_of(c), over, why),
        )
        for c in suite.criteria
    ]
    return State(decisions, _controls(suite, samples))


def needed_cells(suite: Suite, block: int, before: Sequence[Observation]) -> set[tuple[str, str]]:
    """Return the cells of a block: all up to the first look, then what undecided criteria need.

    Where a criterion needs a cell it needs its A/A control as well; up to the first look a control that has a
    number of blocks of its own keeps to that.

    Args:
        suite: The suite.
        block: Number of the block, from 1.
        before: What the blocks before it measured.
    """
    cells = shown_cells(suite, block)
    if block == 1:
        return cells
    wanted = state_of(suite, before, over=False).wanted
    again = {
        (other, workload)
        for (arm, workload), other in suite.again.items()
        if (arm, workload) in wanted and (block > suite.first_look or suite.arms[other].blocks is None)
    }
    return cells | wanted | again


def runs_again(
    runs: Iterable[ArmRun], wanted: Collection[tuple[str, str]], observations: Sequence[Observation]
) -> list[ArmRun]:
    """Return the workers that measure a block's void cells once more, in the order of the block.

    A cell is void if others disturbed it, or if it ran into its timeout, which slowness alone can do. Where
    most of the block is void nothing is run again: a moment later it would be as well.

    Args:
        runs: The workers of the block.
        wanted: Cells that an undecided criterion waits for; others are not run again, but for a timeout.
        observations: What the block has measured.
    """
    void = {(o.arm, o.workload): o for o in observations if o.status == "timeout" or not is_quiet(o)}
    if len(void) > AGAIN_SHARE * len(observations):
        void = {cell: o for cell, o in void.items() if o.status == "timeout"}
    first = {cell for cell, o in void.items() if o.attempt == 1 and (o.status == "timeout" or cell in wanted)}
    again = []
    for run in runs:
        chosen = tuple(w for w in run.workloads if (run.arm.name, w.name) in first)
        if chosen:
            again.append(replace(run, workloads=chosen, attempt=2))
    return again


def hopeless(before: Sequence[Observation]) -> str:
    """Return why a run gives up: its last blocks held hardly a quiet cell; empty to go on."""
    last = sorted({o.block for o in before})[-HOPELESS:]
    for block in last:
        cells = [o for o in before if o.block == block]
        void = sum(o.status == "timeout" or not is_quiet(o) for o in cells)
        if void < HOPELESS_SHARE * len(cells):
            return ""
    if len(last) < HOPELESS:
        return ""
    return f"others disturbed nearly every cell of blocks {last[0]} to {last[-1]}, and the run gave up"


def _controls(suite: Suite, samples: Samples) -> list[Control]:
    gated = [c for c in suite.criteria if c.kind not in EXACT]
    metrics = {(c.workload, c.metric) for c in gated} | {(c.workload2, c.metric2) for c in gated if c.metric2}
    return [
        control(samples, arm, other, workload, metric)
        for (arm, workload), other in suite.again.items()
        for name, metric in sorted(metrics)
        if name == workload
    ]
