"""The order in which a suite is run: blocks of arms in random order. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.workloads.base import USUAL_POLL_S
from harness.workloads.registry import create_workload

if TYPE_CHECKING:
    from collections.abc import Container

    from harness.suite import Arm, Suite, WorkloadSpec

TREE_S = 0.4
"""Start and end of one worker process, in seconds."""
TIMEOUT_FACTOR = 5.0
TIMEOUT_FLOOR_S = 30.0
"""Without a timeout of its own, a workload has gone wrong after so many times what is expected, and this."""


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One worker process: an arm in a block, with the workloads it runs in turn.

    Attributes:
        attempt: 2 where these workloads were void before in this block, and run again.
    """

    block: int
    order: int
    arm: Arm
    workloads: tuple[WorkloadSpec, ...]
    attempt: int = 1

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"block {self.block} {self.arm.name}" + " again" * (self.attempt > 1)

    def expected_s(self) -> float:
        """Return about how long it takes, in seconds."""
        poll_s = (
            self.arm.settings.get("poll_interval_s", USUAL_POLL_S[self.arm.mode])
            if self.arm.stack == "polling"
            else 0.0
        )
        return TREE_S + sum(
            min(create_workload(w.kind, w.params).expected_s(poll_s=poll_s), limit_s(w))
            for w in self.workloads
        )


def plan(suite: Suite, seed: int) -> list[ArmRun]:
    """Return what to run in order up to the first look: more may follow, for what is then undecided."""
    return [
        run
        for block in range(1, suite.first_look + 1)
        for run in block_runs(suite, seed, block, shown_cells(suite, block))
    ]


def shown_cells(suite: Suite, block: int) -> set[tuple[str, str]]:
    """Return the cells, as ``(arm, workload)``, that take part in a block whatever is decided."""
    if block > suite.first_look:
        return set()
    return {
        (arm.name, name)
        for arm in suite.arms.values()
        for name in arm.workloads
        if _takes_part(block, arm, suite.workloads[name])
    }


def block_runs(suite: Suite, seed: int, block: int, needed: Container[tuple[str, str]]) -> list[ArmRun]:
    """Return what to run in a block, in order: every arm once, in an order drawn for this block.

    The order does not depend on what is needed, nor on other blocks: a run that is resumed finds it again.
    With ``tree: cell`` every workload is a process of its own. The arms of one workload stay together, and
    among them those of one mode, so that what is compared runs seconds apart. Arms that are only shown come
    last, so that the first results do not wait for them.

    Args:
        suite: The suite.
        seed: Seed of the order.
        block: Number of the block, from 1.
        needed: Cells that take part, as ``(arm, workload)``.
    """
    rng = random.Random(f"{seed}:{block}")
    runs: list[ArmRun] = []
    for workloads in _groups(suite, rng):
        arms = list(suite.arms.values())
        rng.shuffle(arms)
        modes = list(dict.fromkeys(arm.mode for arm in arms))
        arms.sort(key=lambda arm: (_only_shown(arm), modes.index(arm.mode)))
        for arm in arms:
            chosen = tuple(
                suite.workloads[name]
                for name in arm.workloads
                if name in workloads and (arm.name, name) in needed
            )
            if chosen:
                runs.append(ArmRun(block, len(runs) + 1, arm, chosen))
    return runs


def expected_s(runs: list[ArmRun]) -> float:
    """Return about how long a plan takes, in seconds."""
    return sum(run.expected_s() for run in runs)


def longest_s(runs: list[ArmRun]) -> float:
    """Return how long a plan takes if every cell runs into its timeout, in seconds."""
    return sum(TREE_S + sum(limit_s(w) for w in run.workloads) for run in runs)


def limit_s(workload: WorkloadSpec) -> float:
    """Return after how many seconds a cell must have gone wrong: its timeout, or far more than expected."""
    if workload.timeout_s is not None:
        return workload.timeout_s
    expected_s = create_workload(workload.kind, workload.params).expected_s(poll_s=max(USUAL_POLL_S.values()))
    drain_s = float(workload.params.get("drain_s", 0.0))
    return TIMEOUT_FLOOR_S + TIMEOUT_FACTOR * expected_s + drain_s


def _groups(suite: Suite, rng: random.Random) -> list[set[str]]:
    names = list(suite.workloads)
    if suite.tree == "arm":
        return [set(names)]
    rng.shuffle(names)
    return [{name} for name in names]


def _only_shown(arm: Arm) -> bool:
    """Whether an arm takes part in a few blocks to be shown beside others, and controls nothing."""
    return arm.blocks is not None and not arm.control_of


def _takes_part(block: int, arm: Arm, workload: WorkloadSpec) -> bool:
    return all(limit is None or block <= limit for limit in (arm.blocks, workload.blocks))
