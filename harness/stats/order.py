"""Upper bounds of percentiles that assume no distribution.

With ``X_(1) <= ... <= X_(n)`` independent samples, ``P(q_p <= X_(k)) >= P(Binomial(n, p) <= k - 1)`` for the
p-quantile ``q_p`` of any distribution, with equality for a continuous one (David & Nagaraja, *Order
Statistics*, section 7.1). The smallest ``k`` that reaches the confidence gives the tightest bound. Samples of
one run are rarely independent: across runs take the largest of the runs' bounds, not the bound of the pool.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.stats.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def percentile_upper_rank(n: int, p: float = 0.99, confidence: float = 0.95) -> int | None:
    """Return the smallest rank whose order statistic bounds the p-quantile from above.

    That is the smallest k with ``P(B <= k - 1) >= confidence``, B ~ Binomial(n, p), or, counting the
    ``F = n - B`` samples above the quantile, ``n - m`` for the largest m with
    ``P(F <= m) <= 1 - confidence``. The probabilities f of F are summed, not approximated, in logarithms from
    ``f(0) = p**n`` and ``f(j + 1) = f(j) (n - j) / (j + 1) (1 - p) / p``, up to the mean, beyond which m
    cannot lie. Rounding moves the confidence by less than 1e-8 for n up to 1e6; the cost is O(n (1 - p)).

    Args:
        n: Number of samples, at least 0.
        p: The quantile as a fraction in (0, 1).
        confidence: In [0.5, 1).

    Returns:
        A rank from 1 to n, or None when even the largest sample is no bound (n < 299 for p = 0.99 at 0.95).

    Raises:
        ValueError: An argument is out of range.
    """
    if n < 0 or not 0 < p < 1 or not 0.5 <= confidence < 1:
        raise ValueError(
            f"n is {n}, p is {p}, confidence is {confidence}: n must be at least 0, p in (0, 1), "
            "confidence in [0.5, 1)"
        )
    above = np.arange(min(n, math.ceil(n * (1 - p)) + 1), dtype=np.float64)
    steps = np.log((n - above) / (above + 1)) + math.log((1 - p) / p)
    log_f = n * math.log(p) + np.concatenate(([0.0], np.cumsum(steps)))
    m = int(np.searchsorted(np.cumsum(np.exp(log_f)), 1 - confidence, side="right")) - 1
    return None if m < 0 else n - m


def percentile_upper_bound(
    samples: Histogram | Sequence[float] | NDArray[np.float64], p: float = 0.99, confidence: float = 0.95
) -> float | None:
    """Return a value that the p-quantile behind the samples does not exceed, at the given confidence.

    Args:
        samples: Independent samples: a histogram in ns, or ascending numbers of any unit.
        p: The quantile as a fraction in (0, 1).
        confidence: In [0.5, 1).

    Returns:
        The order statistic of `percentile_upper_rank` in the unit of the samples, for a histogram rounded up
        by less than 0.1 %, so that it stays a bound; None when the samples are too few.

    Raises:
        ValueError: The samples are not in ascending order, or an argument is out of range.
    """
    if isinstance(samples, Histogram):
        rank = percentile_upper_rank(samples.count, p, confidence)
        return None if rank is None else samples.value_at_rank(rank)
    values = np.asarray(samples, np.float64)
    if not (values[1:] >= values[:-1]).all():
        raise ValueError("the samples are not in ascending order")
    rank = percentile_upper_rank(values.size, p, confidence)
    return None if rank is None else float(values[rank - 1])
