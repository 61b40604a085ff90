"""Whether a series drifts: neighbours resemble each other more than chance would have them."""

from __future__ import annotations

import itertools
import random
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

EXACT_UP_TO = 7
"""Longest series of which all orders are tried (5 040); of longer ones a sample of them."""
DRAWS = 5000


class Drift(NamedTuple):
    """What a series shows of drift.

    Attributes:
        ratio: Von Neumann's ratio of the ranks: about 2 without drift, near 0 with it.
        p: Share of all orders of the series whose ratio is no larger: small is evidence of drift.
    """

    ratio: float
    p: float


def drift(series: Sequence[float]) -> Drift:
    """Return the rank version of von Neumann's ratio of a series, and its one-sided p-value.

    The ratio is ``sum (r_i - r_(i+1))**2 / sum (r_i - mean)**2`` over the ranks r (Bartels 1982); tied values
    keep the order in which they came. Of up to 7 values the p-value is exact, of more it is from 5 000 orders
    drawn with a fixed seed. A series of fewer than 4 values, or of equal ones, shows nothing: (2, 1).

    Args:
        series: Values in order of time, all finite.
    """
    n = len(series)
    if n < 4 or len(set(series)) == 1:
        return Drift(2.0, 1.0)
    order = sorted(range(n), key=lambda i: series[i])
    ranks = [0] * n
    for rank, index in enumerate(order):
        ranks[index] = rank
    total = _steps(ranks)
    others = _null(n)
    p = (sum(other <= total for other in others) + 1) / (len(others) + 1)
    return Drift(total / (n * (n * n - 1) / 12), p)


def _steps(ranks: Sequence[int]) -> int:
    return sum((b - a) ** 2 for a, b in itertools.pairwise(ranks))


@lru_cache(maxsize=64)
def _null(n: int) -> tuple[int, ...]:
    """Return the sum of squared steps of all orders of n ranks, or of a sample of them."""
    if n <= EXACT_UP_TO:
        return tuple(_steps(ranks) for ranks in itertools.permutations(range(n)))
    rng = random.Random(n)
    return tuple(_steps(rng.sample(range(n), n)) for _ in range(DRAWS))
