"""Estimates from paired samples: one pair is one block, one sample is one run.

Point estimate: the Hodges-Lehmann estimator, the median of the Walsh averages ``(d_i + d_j) / 2`` over
``i <= j`` (Hodges & Lehmann 1963). Bounds: the Wilcoxon signed-rank test, inverted exactly (Hollander, Wolfe
& Chicken, *Nonparametric Statistical Methods*, section 3.3). Both assume differences that are independent and
symmetric about their centre, nothing more; ties only raise the coverage.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Estimate(NamedTuple):
    """A point with a bound on either side.

    Attributes:
        value: The point estimate.
        low: One-sided lower bound at ``confidence``; -inf (0 for a ratio) when ``n`` is too small for one.
        high: One-sided upper bound at ``confidence``; inf when ``n`` is too small for one.
        n: Number of pairs.
        confidence: Of each bound by itself; both together hold at ``2 * confidence - 1``.
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float


def hodges_lehmann(d: Sequence[float]) -> float:
    """Return the median of the Walsh averages ``(d_i + d_j) / 2``, ``i <= j``.

    Args:
        d: Differences, at least one, all finite.

    Raises:
        ValueError: ``d`` is empty or holds a value that is not finite.
    """
    return float(np.median(_walsh_averages(d)))


def signed_rank_interval(d: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Estimate the centre of ``d`` with two one-sided bounds.

    With ``W_(1) <= ... <= W_(M)`` the ``M = n (n + 1) / 2`` sorted Walsh averages and ``T`` the signed-rank
    statistic under the null hypothesis, ``P(centre < W_(k)) = P(T <= k - 1)``. The lower bound is ``W_(k)``,
    the upper bound ``W_(M + 1 - k)``, for the largest ``k`` with ``P(T <= k - 1) <= 1 - confidence``. Where
    not even ``k = 1`` serves (``2**-n > 1 - confidence``: n < 5 at 0.95) the bounds are infinite, also for
    equal samples; for larger n equal samples give both bounds equal to the value.

    Args:
        d: Differences, at least one, all finite.
        confidence: Of each bound, in [0.5, 1).

    Raises:
        ValueError: ``d`` is empty or not finite, or ``confidence`` is out of range.
    """
    averages = _walsh_averages(d)
    value = hodges_lehmann(d)
    k = _critical_rank(len(d), confidence)
    if k == 0:
        return Estimate(value, -math.inf, math.inf, len(d), confidence)
    return Estimate(value, float(averages[k - 1]), float(averages[-k]), len(d), confidence)


def signed_rank_p(d: Sequence[float], centre: float = 0.0) -> float:
    """Return the exact one-sided p-value of ``d`` lying above ``centre``: small is evidence that it does.

    It is ``P(T >= w)`` with w the number of Walsh averages above ``centre``, so it is at most
    ``1 - confidence`` exactly where the lower bound of :func:`signed_rank_interval` is above ``centre``.
    For evidence below ``centre``, negate both.

    Args:
        d: Differences, at least one, all finite.
        centre: What the centre of ``d`` is compared with.

    Raises:
        ValueError: ``d`` is empty or not finite.
    """
    averages = _walsh_averages(d)
    above = int(averages.size - np.searchsorted(averages, centre, side="right"))
    patterns = _sign_patterns(len(d))
    return float(sum(patterns[above:]) / 2 ** len(d))


def log_ratios(base: Sequence[float], cand: Sequence[float]) -> list[float]:
    """Return ``ln(cand_i / base_i)`` of each pair.

    Args:
        base: Values of the base arm, all finite and above 0.
        cand: Values of the candidate arm in the same blocks, all finite and above 0.

    Raises:
        ValueError: The arms differ in length, or a pair holds a value that is not finite and positive.
    """
    pairs = _pairs(base, cand)
    for index, (b, c) in enumerate(pairs):
        if b <= 0 or c <= 0:
            raise ValueError(f"pair {index} is (base {b}, cand {c}): a log-ratio needs values above 0")
    return [math.log(c) - math.log(b) for b, c in pairs]


def ratio(base: Sequence[float], cand: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Estimate ``cand / base`` by ``exp`` of the signed-rank interval of the log-ratios.

    Args:
        base: Values of the base arm, all finite and above 0.
        cand: Values of the candidate arm in the same blocks, all finite and above 0.
        confidence: Of each bound, in [0.5, 1).

    Raises:
        ValueError: As `log_ratios` and `signed_rank_interval`.
    """
    logs = signed_rank_interval(log_ratios(base, cand), confidence)
    return logs._replace(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high))


def reduction(base: Sequence[float], cand: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Estimate ``1 - cand / base`` per pair, for counts that the candidate may bring down to zero.

    Args:
        base: Values of the base arm, all finite and above 0.
        cand: Values of the candidate arm in the same blocks, all finite and at least 0.
        confidence: Of each bound, in [0.5, 1).

    Returns:
        The estimate: 1 is "nothing left", 0 "as before", a negative value an increase.

    Raises:
        ValueError: A base value is 0, where the reduction is undefined; a value is negative; or as
            `signed_rank_interval`.
    """
    pairs = _pairs(base, cand)
    for index, (b, c) in enumerate(pairs):
        if b == 0:
            raise ValueError(f"pair {index} is (base {b}, cand {c}): a reduction from 0 is undefined")
        if b < 0 or c < 0:
            raise ValueError(f"pair {index} is (base {b}, cand {c}): a reduction needs values of at least 0")
    return signed_rank_interval([1 - c / b for b, c in pairs], confidence)


def _pairs(base: Sequence[float], cand: Sequence[float]) -> list[tuple[float, float]]:
    if len(base) != len(cand):
        raise ValueError(f"{len(base)} base values cannot be paired with {len(cand)} candidate values")
    pairs = [(float(b), float(c)) for b, c in zip(base, cand, strict=True)]
    for index, (b, c) in enumerate(pairs):
        if not (math.isfinite(b) and math.isfinite(c)):
            raise ValueError(f"pair {index} is (base {b}, cand {c}): not finite")
    return pairs


def _walsh_averages(d: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(d, np.float64)
    if values.size == 0:
        raise ValueError("no differences: an estimate needs at least one pair")
    if not np.isfinite(values).all():
        raise ValueError(f"difference {int(np.argmin(np.isfinite(values)))} is not finite")
    first, second = np.triu_indices(values.size)
    return np.sort((values[first] + values[second]) / 2)


def _critical_rank(n: int, confidence: float) -> int:
    """Return the largest k with ``P(T <= k - 1) <= 1 - confidence``, 0 where there is none."""
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is {confidence}: it must be at least 0.5 and below 1")
    allowed = math.floor((1 - Fraction(confidence)) * 2**n)
    return int(np.searchsorted(np.cumsum(_sign_patterns(n)), allowed, side="right"))


@lru_cache(maxsize=64)
def _sign_patterns(n: int) -> NDArray[np.object_]:
    """Return how many of the ``2**n`` sign patterns have each rank sum from 0 on.

    That is the coefficient of ``x**t`` in ``prod (1 + x**r)`` over r = 1..n, built rank by rank in Python
    integers, so that comparisons are exact for every n.
    """
    patterns = np.zeros(n * (n + 1) // 2 + 1, dtype=object)
    patterns[0] = 1
    for rank in range(1, n + 1):
        patterns[rank:] = patterns[rank:] + patterns[:-rank]
    return patterns
