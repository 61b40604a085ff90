"""Estimates from two sets of samples that have nothing to do with each other: stored runs.

Point estimate: the two-sample Hodges-Lehmann estimator, the median of all differences ``y_j - x_i``. Bounds
and p-values: the Mann-Whitney (Wilcoxon rank-sum) test, inverted exactly (Hollander, Wolfe & Chicken,
*Nonparametric Statistical Methods*, sections 4.1-4.3). They assume independent samples whose distributions
differ by a shift at most; ties only raise the coverage.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from harness.stats.paired import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def rank_sum_interval(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Estimate how far ``y`` lies above ``x``, with two one-sided bounds.

    With ``D_(1) <= ... <= D_(M)`` the ``M = m n`` sorted differences and U the Mann-Whitney statistic under
    the null hypothesis, ``P(shift < D_(k)) = P(U <= k - 1)``. The lower bound is ``D_(k)``, the upper
    ``D_(M + 1 - k)``, for the largest k with ``P(U <= k - 1) <= 1 - confidence``; infinite where not even
    ``k = 1`` serves.

    Args:
        x: Samples of the base, at least one, all finite.
        y: Samples of the candidate, likewise.
        confidence: Of each bound, in [0.5, 1).

    Returns:
        The estimate; its ``n`` is the smaller number of samples.

    Raises:
        ValueError: A side is empty or not finite, or ``confidence`` is out of range.
    """
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is {confidence}: it must be at least 0.5 and below 1")
    differences = _differences(x, y)
    value, n = float(np.median(differences)), min(len(x), len(y))
    counts = _arrangements(len(x), len(y))
    allowed = math.floor((1 - Fraction(confidence)) * math.comb(len(x) + len(y), len(x)))
    k = int(np.searchsorted(np.cumsum(counts), allowed, side="right"))
    if k == 0:
        return Estimate(value, -math.inf, math.inf, n, confidence)
    return Estimate(value, float(differences[k - 1]), float(differences[-k]), n, confidence)


def rank_sum_p(x: Sequence[float], y: Sequence[float], shift: float = 0.0) -> float:
    """Return the exact one-sided p-value of ``y`` lying more than ``shift`` above ``x``.

    It is ``P(U >= u)`` with u the number of differences above ``shift``, so it is at most ``1 - confidence``
    exactly where the lower bound of :func:`rank_sum_interval` is above ``shift``.

    Raises:
        ValueError: A side is empty or not finite.
    """
    differences = _differences(x, y)
    above = int(differences.size - np.searchsorted(differences, shift, side="right"))
    counts = _arrangements(len(x), len(y))
    return float(sum(counts[above:]) / math.comb(len(x) + len(y), len(x)))


def _differences(x: Sequence[float], y: Sequence[float]) -> NDArray[np.float64]:
    base, candidate = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for name, side in (("base", base), ("candidate", candidate)):
        if side.size == 0:
            raise ValueError(f"the {name} has no samples")
        if not np.isfinite(side).all():
            raise ValueError(f"sample {int(np.argmin(np.isfinite(side)))} of the {name} is not finite")
    return np.sort((candidate[None, :] - base[:, None]).ravel())


@lru_cache(maxsize=64)
def _arrangements(m: int, n: int) -> NDArray[np.object_]:
    """Return how many of the ``comb(m + n, m)`` orders of two samples have each U from 0 on.

    They are the coefficients of the Gaussian binomial ``prod (1 - x**(m + i)) / (1 - x**i)`` over i = 1..n,
    in Python integers.
    """
    counts = np.zeros(m * n + 1, dtype=object)
    counts[0] = 1
    for i in range(1, n + 1):
        step = m + i
        if step <= m * n:
            counts[step:] = counts[step:] - counts[:-step].copy()
        for at in range(i, m * n + 1):
            counts[at] += counts[at - i]
    return counts
