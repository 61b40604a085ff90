"""A/A controls: how far two runs of the same arm lie apart, and what that could overturn. Pure.

The centre of the paired differences tells it (Hodges-Lehmann), not the largest of them: the more blocks, the
better it is known. What two runs of the same code differ by could as well be what two arms differ by, in
either direction; so it can spoil a pass and save from a fail.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.schema import Control
from harness.stats.paired import hodges_lehmann

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples


def control(
    samples: Samples, arms: tuple[str, str], workload: str, metric: str, within: Collection[int] | None = None
) -> Control:
    """Return how far the centres of two runs of the same arm lie apart.

    Args:
        samples: The run.
        arms: The arm, and the one that repeats it.
        workload: The workload.
        metric: The metric.
        within: Blocks to look at, None for all.

    Returns:
        The control. Two equal values are no spread, zeros included. The spread is null where only one of two
        is zero, or there is no pair: it cannot be told.
    """
    left, right = (samples.values(arm, workload, metric) for arm in arms)
    blocks = [b for b in sorted(left.keys() & right.keys()) if within is None or b in within]
    pairs = [(left[b], right[b]) for b in blocks]
    return Control(
        arm=arms[0],
        workload=workload,
        metric=metric,
        spread=_spread(pairs),
        difference=abs(hodges_lehmann([b - a for a, b in pairs])) if pairs else 0.0,
        n=len(pairs),
    )


def shifted(c: Criterion, bound: float, of: Control, *, worse: bool, scale: float) -> float:
    """Return a bound as it would be had the arm measured worse, or better, by what the control shows.

    Args:
        c: The criterion.
        bound: One of its bounds.
        of: The control of its arm.
        worse: Which way.
        scale: Usual value of the other arm, by which a difference becomes a share; 1 for a limit.
    """
    sign = 1.0 if worse else -1.0
    if of.spread is None:
        change = sign * of.difference / scale if scale > 0 else math.inf
        return bound - change if c.kind in ("reduction", "frontier") else bound + change
    factor = math.exp(sign * of.spread)
    if c.kind in ("reduction", "frontier"):
        return 1 - (1 - bound) * factor
    return bound * factor


def told(of: Control) -> str:
    """Return what a control shows, for people."""
    if of.spread is None:
        return f"two runs of {of.arm} lay {of.difference:.3g} of {of.metric} apart, one of them at zero"
    return f"two runs of {of.arm} lay a factor {math.exp(of.spread):.2f} apart in {of.metric}"


def _spread(pairs: Sequence[tuple[float, float]]) -> float | None:
    if not pairs or any(min(pair) <= 0 for pair in pairs if pair[0] != pair[1]):
        return None
    logs = [0.0 if a == b else math.log(b / a) for a, b in pairs]
    return abs(hodges_lehmann(logs))
