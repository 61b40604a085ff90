"""How a decision is told: reasons with numbers, and the record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.acceptance.estimate import bounded
from harness.acceptance.judging import target_of
from harness.records.format import compact, interval, quantity
from harness.records.metrics import METRICS
from harness.records.schema import CriterionRecord, Verdict

if TYPE_CHECKING:
    from harness.acceptance.criteria import Criterion, Kind
    from harness.stats.paired import Estimate

_UNITS: dict[Kind, str] = {
    "reduction": "share saved",
    "frontier": "share saved",
    "ratio": "times",
    "equal": "distinct",
}


def unit_of(c: Criterion) -> str:
    """Return the unit of target and value."""
    return _UNITS[c.kind] if c.kind in _UNITS else METRICS[c.metric].unit


def spans(c: Criterion, at: Estimate) -> str:
    """Return why an interval decides nothing, with its numbers."""
    return f"{_interval(c, at, 'spans')}: run more blocks, such as --blocks {2 * at.n}"


def misses(c: Criterion, at: Estimate) -> str:
    """Return that an interval misses the target, with its numbers."""
    return _interval(c, at, "misses")


def _interval(c: Criterion, at: Estimate, verb: str) -> str:
    unit = unit_of(c)
    value, target = quantity(at.value, unit), compact(target_of(c), unit)
    return f"{value} {interval(at.low, at.high, unit)} of {at.n} blocks {verb} the target of {target}"


def record_of(
    c: Criterion,
    mode: str,
    at: Estimate | None,
    n: int,
    outcome: tuple[Verdict, str],
) -> CriterionRecord:
    """Return the record of a criterion with its verdict and the reason for it."""
    known = at is not None and bounded(at)
    return CriterionRecord(
        id=c.id,
        title=c.title,
        kind=c.kind,
        mode=mode,
        workload=c.workload,
        metric=c.metric,
        arm=c.arm,
        against=c.against,
        against_workload=c.other_workload if c.against else "",
        unit=unit_of(c),
        target=target_of(c),
        value=None if at is None else at.value,
        ci_low=at.low if at is not None and known else None,
        ci_high=at.high if at is not None and known else None,
        n=n,
        verdict=outcome[0],
        reason=outcome[1],
        promise=c.promise,
        note=c.note,
    )
