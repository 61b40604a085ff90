"""What is shown beside a criterion, without a verdict of its own. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.acceptance.estimate import Undecidable, bounded, estimate, series_of
from harness.acceptance.judging import holds, sides
from harness.acceptance.sequence import ALPHA
from harness.records.schema import Beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Aside, Criterion
    from harness.acceptance.samples import Samples
    from harness.stats.paired import Estimate


def asides(c: Criterion, samples: Samples) -> list[Beside]:
    """Return the estimates that stand beside a criterion, at 95 % on all quiet blocks there are."""
    return [_aside(variant(c, aside), aside.label, samples) for aside in c.beside]


def variant(c: Criterion, aside: Aside) -> Criterion:
    """Return the criterion that an aside would be."""
    return replace(
        c,
        arm=aside.arm or c.arm,
        against=aside.against or c.against,
        workload=aside.workload or c.workload,
        metric=aside.metric or c.metric,
        against_workload=aside.against_workload or ("" if aside.workload else c.against_workload),
        valid_if="",
        beside=(),
    )


def holds_from(c: Criterion, beside: Sequence[Beside], at: Estimate | None) -> str:
    """Return from which point of the sweep on a criterion holds, empty where it follows no sweep."""
    if not c.along or at is None:
        return ""
    base = c.workload.partition("@")[0]
    reached = {
        point: _reaches(c, shown)
        for aside, shown in zip(c.beside, beside, strict=True)
        if (point := _point(aside.workload, base)) is not None
    }
    labels = {aside.workload: aside.label for aside in c.beside}
    own = _point(c.workload, base)
    if own is not None:
        reached[own] = bounded(at) and holds(c, sides(c, at)[0])
    first = None
    for point in sorted(reached, reverse=True):
        if not reached[point]:
            break
        first = point
    if first is None:
        return f"holds at no size of {c.along} for certain"
    named = next((labels[w] for w in labels if _point(w, base) == first), f"{c.along} {c.at}")
    return f"holds from {named.removeprefix('at ')} on"


def _reaches(c: Criterion, shown: Beside) -> bool:
    worse = shown.ci_high if c.kind in ("ratio", "limit") else shown.ci_low
    return worse is not None and holds(c, worse)


def _point(workload: str, base: str) -> float | None:
    """Return the value of a sweep's point, None where the workload is none."""
    name, _, label = workload.partition("@")
    try:
        return float(label) if name == base else None
    except ValueError:
        return None


def _aside(c: Criterion, label: str, samples: Samples) -> Beside:
    try:
        series = series_of(c, samples)
    except Undecidable as error:
        return Beside(label=label, value=None, ci_low=None, ci_high=None, n=error.n, reason=str(error))
    if not series[0].n:
        return Beside(label=label, value=None, ci_low=None, ci_high=None, n=0, reason="was not measured")
    at = estimate(c, series[0], ALPHA)
    known = bounded(at)
    return Beside(
        label=label,
        value=at.value,
        ci_low=at.low if known else None,
        ci_high=at.high if known else None,
        n=at.n,
    )
