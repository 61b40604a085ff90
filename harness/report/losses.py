"""Where push loses: every metric of a push arm that is worse than that of a polling arm. Pure."""

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
        for name in push.metrics
        if name in polling.metrics
        and name not in _NOT_COMPARED
        and (loss := _loss(name, push, polling)) is not None
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
    return sum(
        push.metrics[name].value is not None and polling.metrics[name].value is not None
        for push, polling in _opponents(cells)
        for name in (push.metrics.keys() & polling.metrics.keys()) - _NOT_COMPARED
    )


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
