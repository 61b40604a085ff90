"""The slope of a line through points, whatever a few of them say.

Theil's estimator: the median of the slopes of all pairs of points (Theil, *A rank-invariant method of linear
and polynomial regression analysis*, 1950). Up to 29 % of the points may be arbitrary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def theil_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the median slope of all pairs of points that do not share their ``x``, in units of y per x.

    Args:
        x: Positions, in any order.
        y: Values at them.

    Raises:
        ValueError: The two differ in length, or no two points differ in ``x``.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} positions and {len(y)} values: there must be as many")
    positions, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    first, second = np.triu_indices(positions.size, 1)
    run, rise = positions[second] - positions[first], values[second] - values[first]
    apart = run != 0
    if not apart.any():
        raise ValueError(f"{positions.size} points at one position have no slope")
    return float(np.median(rise[apart] / run[apart]))
