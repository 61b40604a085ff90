"""Acceptance criteria as a suite states them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["reduction", "limit", "ratio", "at_least", "at_most", "equal", "frontier"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EXACT: tuple[Kind, ...] = ("at_least", "at_most", "equal")
"""Kinds that every single block must hold: counts and answers, which load does not excuse."""
PROMISES = ("cpu-idle", "cpu-round", "latency-rpc", "latency-push", "memory", "logs")
"""What the specification promises of push against polling."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What is shown beside a criterion, without a verdict. Empty names are those of the criterion.

    Attributes:
        label: What is different about it.
        arm: Arm it is about.
        against: Arm it is compared with.
        workload: Name of the workload.
        against_workload: Workload of the other side.
        metric: Metric that is compared.
    """

    label: str
    arm: str = ""
    against: str = ""
    workload: str = ""
    against_workload: str = ""
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must hold.

    Attributes:
        id: Its name in reports.
        title: What it says, for people.
        kind: How it is decided:

            ``reduction``: the lower bound of ``1 - arm / against`` reaches ``target``.
            ``ratio``: the upper bound of ``arm / against`` stays within ``target``.
            ``limit``: the upper bound of the centre over the blocks stays within ``target``.
            ``at_least``: the value of every block reaches ``target``.
            ``at_most``: the value of every block stays within ``target``.
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
        promise: Which of :data:`PROMISES` it is about, empty for none.
        note: What to know about how it is measured.
        beside: What is shown beside it.
        along: Parameter whose sweep ``workload`` is a point of; all points are shown beside it.
        at: The value of that parameter that decides.
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
    note: str = ""
    beside: tuple[Aside, ...] = ()
    along: str = ""
    at: str = ""

    @property
    def other_workload(self) -> str:
        """Workload of the side it is compared with."""
        return self.against_workload or self.workload
