"""Compare two systems, or two versions of one, metric by metric. Pure.

One test a metric asks whether the candidate is worse than the base by more than the margin. A change that
passes is only *suspected*: it counts as ``regressed`` or ``improved`` when other samples say the same
(:mod:`harness.regression.confirm`).

Where those are a fresh batch, the first only screens: each metric is tested by itself at :data:`SCREEN`, and
the fresh batch tests what was suspected, all together, at :data:`CONFIRM` by Holm's method. No sample of the
fresh batch chose what is tested on it, so that level alone bounds the false alarms, however many metrics were
screened. With dozens of them it costs far less power than one level for all in the first batch would. Where
there is no fresh batch (runs that are stored), all metrics are held to :data:`ALPHA` together.
``unchanged`` needs evidence, too: two one-sided tests put the change within the margin. All else is
``inconclusive``, which is no pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.records.metrics import METRICS
from harness.records.schema import Change
from harness.regression.verdict import Evidence, Key, detectable, evidence, verdict
from harness.stats.multiple import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.regression.margins import Margin
    from harness.regression.verdict import Sides

ALPHA = 0.05
"""Chance of any suspicion in stored runs in which nothing has changed."""
SCREEN = 0.05
"""Chance that one metric, which has not changed by more than its margin, is measured again."""
CONFIRM = 0.01
"""Chance that a fresh batch confirms any of its suspicions, in one direction, where nothing has changed."""


def compare(
    samples: Mapping[Key, Sides],
    margins: Mapping[str, Margin],
    *,
    alpha: float = ALPHA,
    together: bool = True,
) -> list[Change]:
    """Return the change of every gated metric, suspicions as ``regressed`` or ``improved``.

    Args:
        samples: By metric; those without a margin are left out.
        margins: What matters, by name of the metric.
        alpha: Error rate of the suspicions in either direction.
        together: Whether all metrics are held to it (Holm), or each by itself.

    Raises:
        ValueError: Samples are empty, not finite, or paired and of different numbers.
    """
    found = [
        evidence(key, sides, margins[key.metric]) for key, sides in samples.items() if key.metric in margins
    ]
    family = [one for one in found if not one.sides.identical]
    adjust = holm if together else list[float]
    worse = dict(zip((one.key for one in family), adjust([one.p_worse for one in family]), strict=True))
    better = dict(zip((one.key for one in family), adjust([one.p_better for one in family]), strict=True))
    return [_change(one, worse.get(one.key, 1.0), better.get(one.key, 1.0), alpha) for one in found]


def screened(samples: Mapping[Key, Sides], margins: Mapping[str, Margin]) -> list[Change]:
    """Return the changes of a first batch, of which a fresh one has to confirm the suspicions."""
    return compare(samples, margins, alpha=SCREEN, together=False)


def too_few(samples: Mapping[Key, Sides], *, alpha: float = ALPHA, together: bool = True) -> list[Key]:
    """Return the metrics of which no change by itself could ever pass: they have too few samples.

    Args:
        samples: As they are compared.
        alpha: The level that a change has to reach.
        together: Whether all of them are held to it.
    """
    family = {key: sides for key, sides in samples.items() if not sides.identical}
    tests = len(family) if together else 1
    return [key for key, sides in family.items() if tests * sides.least_p > alpha]


def suspected(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that a fresh batch has to confirm."""
    return [change for change in changes if change.verdict in ("regressed", "improved")]


def key_of(change: Change) -> Key:
    """Return which metric a change is about."""
    return Key(change.arm, change.workload, change.metric)


def _change(found: Evidence, p_worse: float, p_better: float, alpha: float) -> Change:
    key, sides, estimate = found.key, found.sides, found.estimate
    metric = METRICS[key.metric]
    name, reason = verdict(found, p_worse, p_better, alpha)
    bounded = found.relative and math.isfinite(estimate.low) and math.isfinite(estimate.high)
    value, low, high = estimate.value, estimate.low, estimate.high
    if metric.direction == "higher":
        value, low, high = -value, -high, -low
    return Change(
        arm=key.arm,
        workload=key.workload,
        metric=key.metric,
        unit=metric.unit,
        direction=metric.direction,
        base=float(np.median(sides.base)),
        candidate=float(np.median(sides.candidate)),
        ratio=math.exp(value) if found.relative else None,
        ci_low=math.exp(low) if bounded else None,
        ci_high=math.exp(high) if bounded else None,
        n=estimate.n,
        margin=found.margin,
        detectable=None if sides.identical else detectable(found),
        p=min(p_worse, p_better),
        verdict=name,
        reason=reason,
    )
