"""The A/A controls: an arm that runs twice in each block, and what that says of a verdict. Pure.

A control is judged by its centre, the Hodges-Lehmann estimate of the paired log-ratios, so that more blocks
tell it better. What two runs of one arm differ by may as well hide in the comparison of two arms: a pass that
would not hold had the arm measured worse by the centre is contaminated, and so is a fail that would not be
one had it measured better by it.
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
    samples: Samples,
    base: str,
    again: str,
    workload: str,
    metric: str,
    *,
    within: Collection[int] | None = None,
) -> Control:
    """Return how far two runs of the same arm lay apart, in some blocks or in all.

    Two equal values are no difference, zeros included. Spread and centre are null where only one of two is
    zero in some block, or there is no pair: the ratio cannot be told, the difference can.
    """
    left, right = samples.pairs((base, workload), (again, workload), metric, within=within)
    differences = [b - a for a, b in zip(left, right, strict=True)]
    logs = _logs(left, right)
    return Control(
        arm=base,
        workload=workload,
        metric=metric,
        spread=max(map(abs, logs)) if logs else None,
        difference=max(map(abs, differences), default=0.0),
        n=len(left),
        centre=hodges_lehmann(logs) if logs else None,
        shift=hodges_lehmann(differences) if differences else None,
    )


def shifted(c: Criterion, bound: float, found: Control, base: float | None, *, worse: bool) -> float | None:
    """Return a bound as it would be had the arm measured worse, or better, by a control's centre.

    Args:
        c: The criterion.
        bound: In its unit.
        found: The control.
        base: Median of the other side, None where there is none.
        worse: Whether the arm measures more, which is worse for every kind that has controls.

    Returns:
        The bound, None where that cannot be told.
    """
    sign = 1 if worse else -1
    if found.centre is not None:
        factor = math.exp(sign * abs(found.centre))
        return 1 - (1 - bound) * factor if c.kind in ("reduction", "frontier") else bound * factor
    if found.shift == 0.0:
        return bound
    if found.shift is None:
        return None
    if c.kind == "limit":
        return bound + sign * abs(found.shift)
    if not base or c.kind == "frontier":
        return None
    share = sign * abs(found.shift) / base
    return bound - share if c.kind == "reduction" else bound + share


def told(found: Control) -> str:
    """Return in words what a control shows."""
    if found.centre is None:
        return (
            f"one of two runs of {found.arm} measured zero {found.metric}: how far they lie apart "
            f"cannot be told from {found.n} blocks"
        )
    return (
        f"two runs of {found.arm} lie a factor {math.exp(abs(found.centre)):.2f} apart in {found.metric} "
        f"({found.n} blocks)"
    )


def _logs(left: Sequence[float], right: Sequence[float]) -> list[float]:
    pairs = list(zip(left, right, strict=True))
    if any(a != b and min(a, b) <= 0 for a, b in pairs):
        return []
    return [0.0 if a == b else math.log(b / a) for a, b in pairs]
