"""Where push loses: every metric of a push arm that is worse than that of a polling arm. Pure.

Arms that only tell how far two runs of the same arm lie apart are nobody's opponents: leave their cells out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.report.arms import by_arm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.records.schema import CellRecord, MetricSummary

NOT_THEIRS = frozenset({"lag_p99_s"})
"""Metrics of the load generator, not of the system under test."""

PARTS = frozenset({"round_ask_s", "round_collect_s", "round_reduce_s", "round_publish_s"})
"""Parts of ``round_s``, which is compared as a whole: where a round's time goes is no loss by itself."""

PER_OPERATION = {
    "cpu_cores": "cpu_s_per_op",
    "wakeups_per_s": "wakeups_per_op",
    "wakeups_per_client_per_s": "wakeups_per_op",
    "log_records_per_s": "log_records_per_op",
}
"""What a metric per second is per operation: who does more in a second spends more, which is no loss."""

_NOT_COMPARED = NOT_THEIRS | PARTS


class Loss(NamedTuple):
    """One metric in which polling is better.

    Attributes:
        factor: How many times worse; None where one side is zero or less.
        apart: Whether the two intervals keep clear of each other; where they do not, the difference may be
            chance. None where an arm has no interval.
    """

    workload: str
    metric: str
    push_arm: str
    polling_arm: str
    push: MetricSummary
    polling: MetricSummary
    factor: float | None
    apart: bool | None


def losses(cells: Sequence[CellRecord]) -> list[Loss]:
    """Return where push is worse, what is beyond chance first, then the largest factor first."""
    found = [
        loss
        for push, polling in _opponents(cells)
        for name in _shared(push, polling)
        if (loss := _loss(name, push, polling)) is not None
    ]
    return sorted(found, key=lambda loss: (not loss.apart, -(loss.factor or float("inf"))))


def failures(cells: Sequence[CellRecord]) -> list[str]:
    """Return a sentence for each workload that a push arm did not manage and a polling arm did."""
    return list(
        dict.fromkeys(
            f"{push.arm} {push.workload}: {push.status}, where {polling.arm} ended well"
            for push, polling in _opponents(cells)
            if push.status != "ok" and polling.status == "ok"
        )
    )


def compared(cells: Sequence[CellRecord]) -> int:
    """Return how many pairs of values were compared."""
    return sum(len(_shared(push, polling)) for push, polling in _opponents(cells))


def _shared(push: CellRecord, polling: CellRecord) -> list[str]:
    """Return the metrics that are compared: those that both cells have a value of."""
    measured = {name for name, summary in polling.metrics.items() if summary.value is not None}
    both = [name for name, ours in push.metrics.items() if ours.value is not None and name in measured]
    both = [name for name in both if name not in _NOT_COMPARED]
    return [name for name in both if PER_OPERATION.get(name) not in both]


def _opponents(cells: Sequence[CellRecord]) -> Iterator[tuple[CellRecord, CellRecord]]:
    ordered = by_arm(cells)
    for push in ordered:
        for polling in ordered:
            if (push.stack, polling.stack) == ("push", "polling") and (push.mode, push.workload) == (
                polling.mode,
                polling.workload,
            ):
                yield push, polling


def _loss(name: str, push: CellRecord, polling: CellRecord) -> Loss | None:
    ours, theirs = push.metrics[name], polling.metrics[name]
    if ours.value is None or theirs.value is None:
        return None
    higher_is_better = ours.direction == "higher"
    small, large = (ours, theirs) if higher_is_better else (theirs, ours)
    if small.value is None or large.value is None or small.value >= large.value:
        return None
    factor = large.value / small.value if small.value > 0 else None
    apart = None
    if small.ci_high is not None and large.ci_low is not None:
        apart = small.ci_high < large.ci_low
    return Loss(push.workload, name, push.arm, polling.arm, ours, theirs, factor, apart)
