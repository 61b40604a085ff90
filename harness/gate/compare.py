"""Compare two systems, or two versions of one, metric by metric. Pure.

One test a metric asks whether the candidate is worse than the base by more than the margin; all together are
held to one error rate by Holm's method. A change that passes is only *suspected*: it counts as ``regressed``
or ``improved`` when a fresh batch of samples says the same (:func:`confirmed`). ``unchanged`` needs evidence,
too: two one-sided tests put the change within the margin. All else is ``inconclusive``, which is no pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec.structs import replace

from harness.records.metrics import METRICS
from harness.records.schema import Change
from harness.stats.multiple import holm
from harness.stats.paired import (
    Estimate,
    hodges_lehmann,
    log_ratios,
    signed_rank_interval,
    signed_rank_p,
)
from harness.stats.unpaired import rank_sum_interval, rank_sum_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.gate.margins import Margin
    from harness.records.schema import ChangeVerdict

ALPHA = 0.05
"""Chance of any suspicion in a batch in which nothing has changed."""


class Key(NamedTuple):
    """A metric of a cell."""

    arm: str
    workload: str
    metric: str


class Sides(NamedTuple):
    """The samples of one metric.

    Attributes:
        base: One value a run or block, at least one.
        candidate: Likewise; of the same blocks if ``paired``.
        paired: Whether they belong together one by one.
        drift: How far the same code lay apart, as an absolute log-ratio; None if that is not known.
        least: Least share that can be told here, from a calibration; a narrower margin gives way to it.
    """

    base: Sequence[float]
    candidate: Sequence[float]
    paired: bool = True
    drift: float | None = None
    least: float = 0.0


class _Test(NamedTuple):
    """A metric before it is judged together with the others; positive is worse."""

    key: Key
    sides: Sides
    margin: Margin
    relative: bool
    limit: float
    estimate: Estimate
    p_worse: float
    p_better: float


def compare(
    samples: Mapping[Key, Sides], margins: Mapping[str, Margin], *, alpha: float = ALPHA
) -> list[Change]:
    """Return the change of every gated metric, suspicions as ``regressed`` or ``improved``.

    Args:
        samples: By metric; those without a margin are left out.
        margins: What matters, by name of the metric.
        alpha: Family-wise error rate of the suspicions in either direction.
    """
    tests = [
        _test(key, sides, margins[key.metric]) for key, sides in samples.items() if key.metric in margins
    ]
    telling = [test for test in tests if not _identical(test.sides)]
    worse = dict(zip((t.key for t in telling), holm([t.p_worse for t in telling]), strict=True))
    better = dict(zip((t.key for t in telling), holm([t.p_better for t in telling]), strict=True))
    return [_judge(t, worse.get(t.key, 1.0), better.get(t.key, 1.0), alpha) for t in tests]


def _identical(sides: Sides) -> bool:
    """Whether all samples are the same: such a test cannot reject and is none of the family (Tarone 1990)."""
    return len({*sides.base, *sides.candidate}) == 1


def confirmed(
    first: Sequence[Change], second: Mapping[Key, Sides], margins: Mapping[str, Margin]
) -> list[Change]:
    """Return the first batch's changes; suspicions that the second does not share are ``inconclusive``.

    Args:
        first: As compared.
        second: Samples of a fresh batch. Only what was suspected is tested on them, so that a suspicion is
            not held against metrics that nobody suspects.
        margins: As for the first batch.
    """
    keys = {key_of(change) for change in suspected(first)}
    tested = compare({key: sides for key, sides in second.items() if key in keys}, margins)
    again = {key_of(change): change for change in tested}
    return [_confirmed(change, again.get(key_of(change))) for change in first]


def halved(
    sides: Mapping[Key, tuple[Sequence[float], Mapping[int, float]]],
    margins: Mapping[str, Margin],
    blocks: Sequence[int],
    drift: Mapping[Key, float],
    least: Mapping[Key, float],
) -> list[Change]:
    """Compare a stored run with another; each half of its blocks has to confirm what all of them say.

    Args:
        sides: Samples of the base, and of the candidate by block.
        margins: What matters.
        blocks: Blocks of the candidate, in order.
        drift: How far the same code lay apart, by metric, where that is to be allowed for.
        least: Least share that can be told, by metric.
    """

    def of(chosen: Sequence[int]) -> dict[Key, Sides]:
        taken = {key: [after[b] for b in chosen if b in after] for key, (_, after) in sides.items()}
        return {
            key: Sides(before, taken[key], False, drift.get(key), least.get(key, 0.0))
            for key, (before, _) in sides.items()
            if taken[key]
        }

    changes, middle = compare(of(blocks), margins), len(blocks) // 2
    for half in (blocks[:middle], blocks[middle:]):
        changes = confirmed(changes, of(half), margins)
    return changes


def controlled(samples: Mapping[Key, Sides], control: Mapping[Key, Sides]) -> dict[Key, Sides]:
    """Return paired samples with the drift that a control shows: the base, measured again in each block."""
    return {
        key: sides._replace(drift=_drift(control[key])) if key in control else sides
        for key, sides in samples.items()
    }


def _drift(sides: Sides) -> float | None:
    if min(*sides.base, *sides.candidate) <= 0:
        return None
    return abs(hodges_lehmann(log_ratios(sides.base, sides.candidate)))


def suspected(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that a fresh batch has to confirm."""
    return [change for change in changes if change.verdict in ("regressed", "improved")]


def key_of(change: Change) -> Key:
    """Return which metric a change is about."""
    return Key(change.arm, change.workload, change.metric)


_CONFIRMED = "; a fresh batch says the same"


def _confirmed(change: Change, again: Change | None) -> Change:
    if change.verdict not in ("regressed", "improved"):
        return change
    if again is not None and again.verdict == change.verdict:
        return replace(change, reason=change.reason.removesuffix(_CONFIRMED) + _CONFIRMED)
    said = "did not measure it" if again is None else f"says {again.verdict}"
    return replace(
        change, verdict="inconclusive", reason=f"{change.verdict} in one batch, and a fresh one {said}"
    )


def _test(key: Key, sides: Sides, margin: Margin) -> _Test:
    """Take logarithms where every sample is above zero, differences elsewhere; turn worse upwards."""
    base, candidate = np.asarray(sides.base, float), np.asarray(sides.candidate, float)
    margin = margin._replace(share=max(margin.share, sides.least))
    relative = bool(base.min() > 0 and candidate.min() > 0)
    usual = max(float(np.median(np.abs(base))), float(np.median(np.abs(candidate))))
    beyond = max(margin.floor, margin.share * usual)  # where a ratio has no meaning
    limit = math.log1p(margin.share) if relative else beyond
    if relative:
        base, candidate = np.log(base), np.log(candidate)
    sign = 1.0 if METRICS[key.metric].direction == "lower" else -1.0
    x, y = (sign * base).tolist(), (sign * candidate).tolist()
    if sides.paired:
        d = [after - before for before, after in zip(x, y, strict=True)]
        estimate = signed_rank_interval(d)
        p_worse, p_better = signed_rank_p(d, limit), signed_rank_p([-one for one in d], limit)
    else:
        estimate = rank_sum_interval(x, y)
        p_worse, p_better = rank_sum_p(x, y, limit), rank_sum_p(y, x, limit)
    return _Test(key, sides, margin, relative, limit, estimate, p_worse, p_better)


def _judge(test: _Test, p_worse: float, p_better: float, alpha: float) -> Change:
    key, sides, estimate, limit = test.key, test.sides, test.estimate, test.limit
    metric = METRICS[key.metric]
    base, candidate = float(np.median(sides.base)), float(np.median(sides.candidate))
    verdict, reason = _verdict(test, p_worse, p_better, alpha, abs(candidate - base))
    bounded = test.relative and math.isfinite(estimate.low) and math.isfinite(estimate.high)
    low, high = (
        (estimate.low, estimate.high) if metric.direction == "lower" else (-estimate.high, -estimate.low)
    )
    value = estimate.value if metric.direction == "lower" else -estimate.value
    return Change(
        arm=key.arm,
        workload=key.workload,
        metric=key.metric,
        unit=metric.unit,
        direction=metric.direction,
        base=base,
        candidate=candidate,
        ratio=math.exp(value) if test.relative else None,
        ci_low=math.exp(low) if bounded else None,
        ci_high=math.exp(high) if bounded else None,
        n=estimate.n,
        margin=test.margin.share if test.relative else limit,
        p=min(p_worse, p_better),
        verdict=verdict,
        reason=reason,
    )


def _verdict(
    test: _Test, p_worse: float, p_better: float, alpha: float, difference: float
) -> tuple[ChangeVerdict, str]:
    estimate, limit, floor = test.estimate, test.limit, test.margin.floor
    if difference <= floor:
        return "unchanged", f"the difference is within {floor:g} {METRICS[test.key.metric].unit}".rstrip()
    drift = test.sides.drift
    directions: tuple[tuple[float, ChangeVerdict, float], ...] = (
        (p_worse, "regressed", estimate.low),
        (p_better, "improved", -estimate.high),
    )
    for p, name, toward in directions:
        if p > alpha:
            continue
        if test.relative and drift is not None and toward <= limit + drift:
            return (
                "contaminated",
                f"the same code lay a factor {math.exp(drift):.2f} apart: that could explain it",
            )
        return name, f"beyond the margin, p = {p:.2g} (Holm)"
    if -limit < estimate.low and estimate.high < limit:
        return "unchanged", "both bounds lie within the margin"
    if not math.isfinite(estimate.low):
        return "inconclusive", f"{estimate.n} samples are too few for a bound"
    if estimate.low > limit or estimate.high < -limit:
        p = min(p_worse, p_better)
        return "inconclusive", f"beyond the margin, but not sure among so many metrics: p = {p:.2g} (Holm)"
    return "inconclusive", f"the interval of {estimate.n} samples spans the margin"
