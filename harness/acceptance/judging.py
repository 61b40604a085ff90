"""Whether a number holds a criterion, and which bound is the worse one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.acceptance.criteria import Criterion
    from harness.stats.paired import Estimate


def target_of(c: Criterion) -> float:
    """Return what must be reached: one answer for ``equal``."""
    return 1.0 if c.kind == "equal" else c.target


def holds(c: Criterion, value: float) -> bool:
    """Return whether a value, in the criterion's unit, holds it."""
    if c.kind == "frontier":
        return value > c.target
    if c.kind in ("reduction", "at_least"):
        return value >= c.target
    return value <= target_of(c)


def sides(c: Criterion, at: Estimate) -> tuple[float, float]:
    """Return the worse and the better bound."""
    less_is_better = c.kind in ("ratio", "limit", "equal", "at_most")
    return (at.high, at.low) if less_is_better else (at.low, at.high)
