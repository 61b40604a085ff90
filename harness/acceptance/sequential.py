"""Decide a criterion from more and more blocks, at fixed looks. Pure.

Theory of operation. At each look the exact signed-rank interval of the first so many quiet blocks is taken at
the level that :mod:`harness.acceptance.levels` leaves to that look.

- The worse bound reaches the target: **pass**. Over all looks together, what lies exactly at its target
  passes in at most 5 % of runs.
- The better bound misses the target: a suspicion. Six *fresh* blocks have to miss it too, by themselves;
  then it is a **fail**. What lies at its target fails in at most 5 % x 5 % of runs.
- Otherwise, or if the fresh blocks do not confirm it, the next look decides; behind the last it is
  **inconclusive**.

Two things are no matter of the number of blocks and hold a decision up. The A/A control: what two runs of the
same arm differ by could overturn it (:mod:`harness.acceptance.control`). Drift: the blocks depend on their
neighbours (:mod:`harness.stats.drift`), so that they are fewer than they seem, and not every single block
says the same. If that is so at the last look, too, the verdict is **contaminated**.

A decision rests on the blocks up to its look alone: blocks that are measured later, for other criteria, never
change it, and a stored run is decided as it was when it ran.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.acceptance.control import control, shifted, told
from harness.acceptance.estimate import Series, bounds, compares, estimate, holds, target
from harness.acceptance.levels import ALPHA, CONFIRMING, confidences, fewest
from harness.acceptance.ruling import Ruling
from harness.records.format import compact, counted, interval, quantity
from harness.records.metrics import METRICS
from harness.stats.drift import drift

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples
    from harness.stats.paired import Estimate

DRIFT_P = 0.05
"""Share of orders without drift that would show as much of it."""
_UNITS = {"reduction": "share saved", "frontier": "share saved", "ratio": "times", "equal": "distinct"}


class Rules(NamedTuple):
    """How the criteria of a run are decided.

    Attributes:
        looks: Numbers of blocks after which a decision is tried, growing.
        again: Arm that repeats an arm under a workload, by ``(arm, workload)``.
    """

    looks: tuple[int, ...]
    again: Mapping[tuple[str, str], str]


class _Judged(NamedTuple):
    """What some blocks say. ``doubt``: why that might be the machine, empty if nothing speaks for it."""

    side: str
    found: Estimate
    of: Series
    doubt: str = ""


def unit(c: Criterion) -> str:
    """Return the unit of a criterion's target and value."""
    return _UNITS[c.kind] if c.kind in _UNITS else METRICS[c.metric].unit


def shown(c: Criterion, found: Estimate) -> str:
    """Return an estimate with its interval and target, for people."""
    value = quantity(found.value, unit(c))
    if math.isfinite(found.high):
        value += f" {interval(found.low, found.high, unit(c))}"
    return f"{value} of {counted(found.n, 'block')}, target {compact(target(c), unit(c))}"


def rule_sequential(c: Criterion, series: Sequence[Series], samples: Samples, rules: Rules) -> Ruling:
    """Decide a criterion from the blocks so far.

    Args:
        c: The criterion; its kind is none of the exact ones.
        series: Its samples; of a frontier one series a point and metric.
        samples: The run, for the controls.
        rules: How it is decided.

    Raises:
        Undecidable: A value is zero where that cannot be compared with.
    """
    blocks = min(len(one.blocks) for one in series)
    last: _Judged | None = None
    unconfirmed = ""
    for look, confidence in zip(rules.looks, confidences(rules.looks), strict=True):
        if blocks < look:
            found = _seen(c, series, blocks, confidence)
            return Ruling(None, _waiting(c, found, look), found, look - blocks)
        last = _judge(c, series, (0, look), confidence, (samples, rules))
        if last.doubt or last.side == "spans":
            continue
        if last.side == "holds":
            return Ruling("pass", shown(c, last.found), last.found)
        if blocks < look + CONFIRMING:
            reason = f"{shown(c, last.found)}: missed, {CONFIRMING} fresh blocks have to confirm it"
            return Ruling(None, reason, last.found, look + CONFIRMING - blocks)
        again = _judge(c, series, (look, look + CONFIRMING), 1 - ALPHA, (samples, rules))
        if again.side == "misses" and not again.doubt:
            fresh = quantity(again.found.value, unit(c))
            reason = f"{shown(c, last.found)}: missed; {CONFIRMING} fresh blocks confirm it with {fresh}"
            return Ruling("fail", reason, last.found)
        unconfirmed = f"; missed in {look} blocks, not in {CONFIRMING} fresh ones"
    assert last is not None
    return _undecided(c, last, unconfirmed)


def _undecided(c: Criterion, last: _Judged, unconfirmed: str) -> Ruling:
    if last.doubt:
        said = {"holds": "would pass", "misses": "would fail"}.get(last.side, "spans the target")
        reason = f"{shown(c, last.found)}: {said}, but {last.doubt}; run it again when the machine is quiet"
        return Ruling("contaminated", reason, last.found, shaky=True)
    if not math.isfinite(last.found.high):
        needed = fewest(last.found.confidence)
        reason = (
            f"{shown(c, last.found)}: too few blocks for a bound at {last.found.confidence:.1%}; "
            f"use --blocks {needed} or more"
        )
        return Ruling("inconclusive", reason, last.found)
    more = f"; use --blocks {2 * last.found.n} to tell it apart" if not unconfirmed else ""
    return Ruling("inconclusive", f"{shown(c, last.found)}: spans the target{unconfirmed}{more}", last.found)


def _waiting(c: Criterion, found: Estimate | None, look: int) -> str:
    if found is None:
        return f"no quiet block so far, {look} are needed"
    return f"{shown(c, found)}: {look} quiet blocks are needed"


def _seen(c: Criterion, series: Sequence[Series], blocks: int, confidence: float) -> Estimate | None:
    if not blocks:
        return None
    return _closest(c, [one.part(0, blocks) for one in series], confidence)[0]


def _closest(c: Criterion, parts: Sequence[Series], confidence: float) -> tuple[Estimate, Series]:
    """Return the estimate that decides: of a frontier the point that is missed, or beaten least."""
    found = [(estimate(c, part, confidence), part) for part in parts]
    return (
        min(found, key=lambda item: (holds(c, bounds(c, item[0])[1]), item[0].low))
        if compares(c)
        else found[0]
    )


def _judge(
    c: Criterion,
    series: Sequence[Series],
    span: tuple[int, int],
    confidence: float,
    context: tuple[Samples, Rules],
) -> _Judged:
    found, part = _closest(c, [one.part(*span) for one in series], confidence)
    worse, better = bounds(c, found)
    if not math.isfinite(found.high):
        return _Judged("spans", found, part)
    if not holds(c, better):
        return _Judged("misses", found, part, _doubt(c, part, better, context, passes=False))
    if not holds(c, worse):
        return _Judged("spans", found, part)
    return _Judged("holds", found, part, _doubt(c, part, worse, context, passes=True))


def _doubt(c: Criterion, part: Series, bound: float, context: tuple[Samples, Rules], *, passes: bool) -> str:
    """Return what could overturn a decision, empty if nothing could."""
    samples, rules = context
    workload, metric = _watched(c, part)
    scale = float(np.median(part.base)) if part.base else 1.0
    if again := rules.again.get((c.arm, workload)):
        of = control(samples, (c.arm, again), workload, metric, set(part.blocks))
        if of.n and holds(c, shifted(c, bound, of, worse=passes, scale=scale)) is not passes:
            return told(of)
    singles = [estimate(c, part.part(i, i + 1), 0.5).value for i in range(len(part.blocks))]
    seen = drift(singles)
    if seen.p <= DRIFT_P and any(holds(c, value) is not passes for value in singles):
        return f"the blocks drift (von Neumann ratio {seen.ratio:.2f}, p = {seen.p:.3f}) and not all say so"
    return ""


def _watched(c: Criterion, part: Series) -> tuple[str, str]:
    """Return the workload and metric that some samples are of."""
    _, workload, metric = part.what.rsplit(" ", 2)
    return workload, metric
