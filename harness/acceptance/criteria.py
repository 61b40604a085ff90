"""Acceptance criteria as a suite states them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["reduction", "limit", "ratio", "at_least", "equal", "frontier"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must hold.

    Attributes:
        id: Its name in reports.
        title: What it says, for people.
        kind: How it is decided:

            ``reduction``: the lower bound of ``1 - arm / against`` reaches ``target``.
            ``ratio``: the upper bound of ``arm / against`` stays within ``target``.
            ``limit``: the largest value over the blocks stays within ``target``.
            ``at_least``: the smallest value over the blocks reaches ``target``.
            ``equal``: the text ``metric`` is the same in all arms and blocks that report it.
            ``frontier``: ``arm`` lies below every sweep arm derived from ``against`` by ``reduction`` of
            ``metric`` under ``workload`` and of ``metric2`` under ``workload2``, at once.
        workload: Name of the workload in the suite.
        metric: Name of the metric, or of the text for ``equal``.
        arm: Arm it is about.
        against: Arm it is compared with.
        against_workload: Workload of the other side where it differs.
        target: What must be reached, in the metric's unit, or as a share or factor.
        workload2: Second workload of ``frontier``.
        metric2: Second metric of ``frontier``.
        valid_if: Workload of injected faults that must have ended well in both arms: silence must not win.
        promise: Which of the promises it decides, such as ``cpu-idle``; empty for none.
    """

    id: str
    title: str
    kind: Kind
    workload: str
    metric: str
    arm: str = ""
    against: str = ""
    against_workload: str = ""
    target: float = 0.0
    workload2: str = ""
    metric2: str = ""
    valid_if: str = ""
    promise: str = ""

    @property
    def other_workload(self) -> str:
        """Workload of the side it is compared with."""
        return self.against_workload or self.workload
