"""What a run does next, from what it has measured so far. Pure.

A run goes from block to block. Up to the first look every cell runs in each block; behind it only what the
undecided criteria wait for. Void cells are run again once, at the end of their block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.acceptance.decide import rule
from harness.acceptance.levels import CONFIRMING
from harness.acceptance.samples import Samples
from harness.acceptance.sequential import Rules
from harness.records.attempts import counted, is_void
from harness.run.plan import ArmRun, block_runs, usual_cells
from harness.suite import cells_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.records.schema import Observation
    from harness.run.plan import Cell
    from harness.suite import Suite

RETRIED_SHARE = 0.5
"""Share of a block that may be void and is run again; where more is, the machine is busy, not unlucky."""
CROWDED_BLOCKS = 2
"""Blocks in a row with hardly a quiet cell after which a run gives up."""
CROWDED_SHARE = 0.9
"""Share of a block's cells that are void where hardly one is quiet."""


def rules_of(suite: Suite) -> Rules:
    """Return how the criteria of a suite are decided."""
    return Rules(suite.stages, suite.again)


class Standing(NamedTuple):
    """How far the criteria of a run are.

    Attributes:
        decided: Criteria whose verdict is final.
        cells: Cells that the others wait for.
    """

    decided: int
    cells: set[Cell]


def standing(suite: Suite, observations: Iterable[Observation]) -> Standing:
    """Return which criteria are decided, and what the others wait for: their cells and the A/A controls."""
    samples, rules = Samples(observations), rules_of(suite)
    waiting: set[Cell] = set()
    decided = 0
    for criterion in suite.criteria:
        if rule(criterion, samples, rules).verdict is not None:
            decided += 1
            continue
        cells = cells_of(criterion, suite.arms)
        waiting |= cells | {
            (again, w) for arm, w in cells if (again := rules.again.get((arm, w))) is not None
        }
    return Standing(decided, waiting)


def cells_of_block(suite: Suite, observations: Sequence[Observation], block: int) -> set[Cell]:
    """Return the cells that run in a block, from what the blocks before it have shown; none if it is over."""
    if block > suite.stages[-1] + CONFIRMING:
        return set()
    before = [o for o in observations if o.block < block]
    usual = usual_cells(suite, block)
    if block == 1:
        return usual
    return usual | standing(suite, before).cells


def retries(suite: Suite, runs: Sequence[ArmRun], observations: Iterable[Observation]) -> list[ArmRun]:
    """Return what to run again of a block: the void cells that an undecided criterion waits for.

    Nothing where most of the block is void: a second later it would be as well.

    Args:
        suite: The suite.
        runs: The workers of the block, as planned.
        observations: Everything measured so far.
    """
    known = list(observations)
    block = runs[0].block
    here = [o for o in counted(known) if o.block == block]
    void = {(o.arm, o.workload): o.attempt for o in here if is_void(o)}
    if not void or len(void) > RETRIED_SHARE * len(here):
        return []
    wanted = standing(suite, known).cells
    again = []
    for run in runs:
        chosen = [w for w in run.workloads if (run.arm.name, w.name) in wanted]
        left = tuple(w for w in chosen if void.get((run.arm.name, w.name)) == 1)
        if left:
            again.append(ArmRun(block, run.order, run.arm, left, attempt=2))
    return again


def crowded(observations: Iterable[Observation]) -> bool:
    """Return whether the last blocks hold hardly a quiet cell: more of them would not help."""
    blocks: dict[int, list[bool]] = {}
    for o in counted(observations):
        blocks.setdefault(o.block, []).append(is_void(o))
    last = [blocks[block] for block in sorted(blocks)[-CROWDED_BLOCKS:]]
    return len(last) == CROWDED_BLOCKS and all(sum(v) >= CROWDED_SHARE * len(v) for v in last)


def upcoming(suite: Suite, seed: int, observations: Sequence[Observation]) -> list[ArmRun]:
    """Return the workers that are still to run: up to the first look, and of the blocks that have begun.

    Where these are complete it is the next block, if any criterion waits for one.
    """
    runs: list[ArmRun] = []
    last = max([suite.stages[0], *(o.block for o in observations)])
    for block in range(1, last + 2):
        if block > last and runs:
            break
        cells = cells_of_block(suite, observations, block)
        runs += unfinished(block_runs(suite, seed, block, cells), observations)
    return runs


def spots(arm_run: ArmRun) -> set[tuple[int, str, str]]:
    """Return what one worker measures."""
    return {(arm_run.block, arm_run.arm.name, w.name) for w in arm_run.workloads}


def unfinished(runs: Iterable[ArmRun], observations: Iterable[Observation]) -> list[ArmRun]:
    """Return the workers to run, in order: all that lack an observation, each as a whole.

    What a worker measures comes from one process tree; to add to what another has begun would mix two.
    """
    measured = {(o.block, o.arm, o.workload) for o in observations}
    return [run for run in runs if not spots(run) <= measured]
