"""Decide a criterion from the samples of a run. Pure.

Each kind of criterion has a function that gives one estimate. The verdict follows in one way for all: it
fails where even the better bound misses the target, and passes where the worse bound reaches it; a point
estimate decides nothing. What the samples cannot tell is ``inconclusive``; a pass that the A/A control could
overturn is ``contaminated``; neither is a pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.metrics import METRICS
from harness.records.schema import Control, CriterionRecord, Verdict
from harness.records.summary import why_missing
from harness.stats.paired import Estimate, ratio, reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.acceptance.criteria import Criterion, Kind
    from harness.acceptance.samples import Samples

LAG_LIMIT_S = 0.010
"""A cell whose load generator was later than this at its 99th percentile measured the generator."""

_UNITS: dict[Kind, str] = {
    "reduction": "share saved",
    "frontier": "share saved",
    "ratio": "times",
    "equal": "distinct",
}


class _Undecidable(Exception):
    """The samples cannot tell; ``n`` is the number of blocks behind that."""

    def __init__(self, reason: str, n: int = 0) -> None:
        super().__init__(reason)
        self.n = n


def decide(
    criterion: Criterion,
    samples: Samples,
    controls: Mapping[tuple[str, str, str], Control],
    *,
    mode: str,
    confidence: float = 0.95,
) -> CriterionRecord:
    """Return the criterion with its verdict.

    Args:
        criterion: What must hold.
        samples: The run's observations.
        controls: A/A controls by arm, workload and metric; a missing one means that nothing was controlled.
        mode: Mode of the criterion's arms.
        confidence: One-sided confidence of each bound.
    """
    try:
        _check_cells(criterion, samples)
        estimate, note = _ESTIMATES[criterion.kind](criterion, samples, confidence)
    except _Undecidable as error:
        return _record(criterion, mode, None, error.n, ("inconclusive", str(error)))
    verdict, reason = _judge(criterion, estimate, _controls(criterion, controls))
    reason = note if criterion.kind == "equal" else "; ".join(filter(None, (reason, note)))
    return _record(criterion, mode, estimate, estimate.n, (verdict, reason))


def _judge(c: Criterion, estimate: Estimate, controls: Sequence[Control]) -> tuple[Verdict, str]:
    worse, better = estimate.low, estimate.high
    if c.kind in ("ratio", "limit", "equal"):
        worse, better = better, worse
    if math.isinf(estimate.high):
        needed = math.ceil(-math.log2(1 - estimate.confidence))
        return (
            "inconclusive",
            f"{estimate.n} blocks are too few for a bound at {estimate.confidence:.0%}: {needed} are needed",
        )
    if not _holds(c, better):
        return "fail", "the whole interval misses the target"
    if not _holds(c, worse):
        return "inconclusive", f"the interval of {estimate.n} blocks spans the target"
    for control in controls:
        if not _survives(c, worse, control):
            return "contaminated", _overturned(control)
    return "pass", ""


def _survives(c: Criterion, bound: float, control: Control) -> bool:
    """Whether the claim would hold had the arm measured worse by what the A/A control shows."""
    if control.spread == 0.0:
        return True
    if control.spread is not None:
        return _holds(c, _worsened(c, bound, control.spread))
    if c.kind in ("limit", "at_least"):
        return _holds(c, bound - control.difference if c.kind == "at_least" else bound + control.difference)
    return False


def _overturned(control: Control) -> str:
    if control.spread is None:
        return f"one of two runs of {control.arm} measured zero {control.metric}: their spread cannot be told"
    return (
        f"two runs of the same arm lay a factor {math.exp(control.spread):.2f} apart: that could overturn it"
    )


def _target(c: Criterion) -> float:
    return 1.0 if c.kind == "equal" else c.target


def _holds(c: Criterion, value: float) -> bool:
    if c.kind == "frontier":
        return value > c.target
    if c.kind in ("reduction", "at_least"):
        return value >= c.target
    return value <= _target(c)


def _worsened(c: Criterion, bound: float, spread: float) -> float:
    """Return the bound as it would be had the arm measured worse by the A/A spread."""
    factor = math.exp(spread)
    if c.kind in ("reduction", "frontier"):
        return 1 - (1 - bound) * factor
    return bound / factor if c.kind == "at_least" else bound * factor


def _controls(c: Criterion, controls: Mapping[tuple[str, str, str], Control]) -> list[Control]:
    """Return the A/A controls of the criterion's metrics, as far as there are any with pairs."""
    keys = ((c.arm, c.workload, c.metric), (c.arm, c.workload2, c.metric2))
    return [controls[key] for key in keys if key in controls and controls[key].n]


def _check_cells(c: Criterion, samples: Samples) -> None:
    for arm, workload in _cells(c, samples):
        _check_status(arm, workload, samples)
        lags = samples.values(arm, workload, "lag_p99_s")
        if lags and max(lags.values()) > LAG_LIMIT_S:
            lag_ms = max(lags.values()) * 1e3
            raise _Undecidable(f"the load generator of {arm} {workload} lagged {lag_ms:.1f} ms at p99")
    if c.valid_if:
        for arm in filter(None, (c.arm, c.against)):
            _check_status(arm, c.valid_if, samples)


def _check_status(arm: str, workload: str, samples: Samples) -> None:
    cell = samples.cell(arm, workload)
    if not cell:
        raise _Undecidable(f"{arm} did not run {workload}")
    for observation in cell:
        if observation.status != "ok":
            why = "; ".join(observation.reasons)
            raise _Undecidable(f"{arm} {workload} {observation.status} in block {observation.block}: {why}")


def _cells(c: Criterion, samples: Samples) -> list[tuple[str, str]]:
    """Return every arm and workload that the criterion rests on."""
    if c.kind == "equal":
        return [(arm, c.workload) for arm in samples.arms(c.workload)]
    if c.kind == "frontier":
        return [(arm, w) for arm in (c.arm, *_points(c, samples)) for w in (c.workload, c.workload2)]
    if c.kind in ("reduction", "ratio"):
        return [(c.arm, c.workload), (c.against, c.other_workload)]
    return [(c.arm, c.workload)]


def _points(c: Criterion, samples: Samples) -> list[str]:
    arms = dict.fromkeys([*samples.arms(c.workload), *samples.arms(c.workload2)])
    return [arm for arm in arms if arm.startswith(f"{c.against}@")]


def _pairs(c: Criterion, samples: Samples) -> tuple[list[float], list[float]]:
    base, candidate = samples.pairs((c.against, c.other_workload), (c.arm, c.workload), c.metric)
    return _checked(c.against, c.metric, base, candidate)


def _checked(
    against: str, metric: str, base: list[float], candidate: list[float]
) -> tuple[list[float], list[float]]:
    if not base:
        raise _Undecidable(f"no block has {metric} of both arms")
    if min(base) <= 0:
        raise _Undecidable(f"{against} measured zero: nothing to compare with", len(base))
    return base, candidate


def _reduction(c: Criterion, samples: Samples, confidence: float) -> tuple[Estimate, str]:
    return reduction(*_pairs(c, samples), confidence), ""


def _ratio(c: Criterion, samples: Samples, confidence: float) -> tuple[Estimate, str]:
    base, candidate = _pairs(c, samples)
    if min(candidate) <= 0:
        raise _Undecidable(f"{c.arm} measured zero: {c.metric} is below its resolution", len(base))
    return ratio(base, candidate, confidence), ""


def _extremes(c: Criterion, samples: Samples, confidence: float) -> tuple[Estimate, str]:
    """Return the median with the smallest and the largest value in place of an interval."""
    values = sorted(samples.values(c.arm, c.workload, c.metric).values())
    missing = why_missing(c.metric, samples.cell(c.arm, c.workload))
    if missing:
        raise _Undecidable(f"{c.metric}: {missing}", len(values))
    return Estimate(_median(values), values[0], values[-1], len(values), confidence), ""


def _median(ordered: Sequence[float]) -> float:
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _equal(c: Criterion, samples: Samples, confidence: float) -> tuple[Estimate, str]:
    arms = samples.arms(c.workload)
    found = [o for arm in arms for o in samples.cell(arm, c.workload)]
    texts, blocks = [o.texts.get(c.metric) for o in found], len({o.block for o in found})
    if len(arms) < 2:
        raise _Undecidable(f"fewer than two arms ran {c.workload}", blocks)
    if None in texts:
        raise _Undecidable(f"{texts.count(None)} of {len(texts)} observations lack {c.metric}", blocks)
    distinct = len(set(texts))
    estimate = Estimate(distinct, distinct, distinct, blocks, confidence)
    return estimate, f"{distinct} different in {len(texts)} observations"


def _frontier(c: Criterion, samples: Samples, confidence: float) -> tuple[Estimate, str]:
    """Return the estimate at the point that push beats least, in the metric where it does."""
    found: list[tuple[Estimate, str]] = []
    for point in _points(c, samples):
        for workload, metric in ((c.workload, c.metric), (c.workload2, c.metric2)):
            pairs = samples.pairs((point, workload), (c.arm, workload), metric)
            estimate = reduction(*_checked(point, metric, *pairs), confidence)
            found.append((estimate, f"closest: {metric} of {point}"))
    if not found:
        raise _Undecidable(f"no point of the sweep of {c.against} was measured")
    # A point that is missed for certain comes before one that is only less well known.
    return min(found, key=lambda item: (_holds(c, item[0].high), item[0].low))


_ESTIMATES: dict[Kind, Callable[[Criterion, Samples, float], tuple[Estimate, str]]] = {
    "reduction": _reduction,
    "ratio": _ratio,
    "limit": _extremes,
    "at_least": _extremes,
    "equal": _equal,
    "frontier": _frontier,
}


def _record(
    c: Criterion, mode: str, estimate: Estimate | None, n: int, outcome: tuple[Verdict, str]
) -> CriterionRecord:
    bounded = estimate is not None and math.isfinite(estimate.high)
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
        unit=_UNITS[c.kind] if c.kind in _UNITS else METRICS[c.metric].unit,
        target=_target(c),
        value=None if estimate is None else estimate.value,
        ci_low=estimate.low if estimate is not None and bounded else None,
        ci_high=estimate.high if estimate is not None and bounded else None,
        n=n,
        verdict=outcome[0],
        reason=outcome[1],
    )
