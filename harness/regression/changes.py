"""Compare two systems, or two versions of one, metric by metric. Pure.

One test a metric asks whether the candidate is worse than the base by more than the margin; all together are
held to one error rate by Holm's method. A change that passes is only *suspected*: it counts as ``regressed``
or ``improved`` when a fresh batch of samples says the same (:mod:`harness.regression.confirm`).
``unchanged`` needs evidence, too: two one-sided tests put the change within the margin. All else is
``inconclusive``, which is no pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.records.metrics import METRICS
from harness.records.schema import Change
from harness.regression.verdict import Key, Shown, shown, verdict
from harness.stats.multiple import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.regression.margins import Margin
    from harness.regression.verdict import Sides

ALPHA = 0.05
"""Chance of any suspicion in a batch in which nothing has changed."""


def compare(
    samples: Mapping[Key, Sides], margins: Mapping[str, Margin], *, alpha: float = ALPHA
) -> list[Change]:
    """Return the change of every gated metric, suspicions as ``regressed`` or ``improved``.

    Args:
        samples: By metric; those without a margin are left out.
        margins: What matters, by name of the metric.
        alpha: Family-wise error rate of the suspicions in either direction.

    Raises:
        ValueError: Samples are empty, not finite, or paired and of different numbers.
    """
    found = [
        shown(key, sides, margins[key.metric]) for key, sides in samples.items() if key.metric in margins
    ]
    family = [one for one in found if not one.sides.identical]
    worse = dict(zip((one.key for one in family), holm([one.p_worse for one in family]), strict=True))
    better = dict(zip((one.key for one in family), holm([one.p_better for one in family]), strict=True))
    return [_change(one, worse.get(one.key, 1.0), better.get(one.key, 1.0), alpha) for one in found]


def too_few(samples: Mapping[Key, Sides], *, alpha: float = ALPHA) -> list[Key]:
    """Return the metrics of which no change by itself could ever pass: they have too few samples for so many.

    Args:
        samples: As they are compared, together.
        alpha: As there.
    """
    family = {key: sides for key, sides in samples.items() if not sides.identical}
    return [key for key, sides in family.items() if len(family) * sides.least_p > alpha]


def suspected(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that a fresh batch has to confirm."""
    return [change for change in changes if change.verdict in ("regressed", "improved")]


def key_of(change: Change) -> Key:
    """Return which metric a change is about."""
    return Key(change.arm, change.workload, change.metric)


def _change(found: Shown, p_worse: float, p_better: float, alpha: float) -> Change:
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
        told=found.told,
        p=min(p_worse, p_better),
        verdict=name,
        reason=reason,
    )
