"""Whether one arm drifted against the other while it was measured. Pure.

The signed-rank test takes the blocks for independent. Where one arm alone drifts they are not, and the
interval is too narrow. The check is the rank version of von Neumann's ratio (Bartels, *The rank version of
von Neumann's ratio test for randomness*, JASA 1982), ``sum (R_i - R_(i+1))^2 / sum (R_i - mean R)^2``, which
is small where neighbours are alike and which one outlier cannot move. Under the null hypothesis it is about
normal with mean 2 and the variance that :func:`ratio_p` uses.

A drift alone voids nothing: a factor of 100 that drifts by a tenth is still about 100. The interval is
widened by ``sqrt((1 + r) / (1 - r))``, the factor by which the lag-1 autocorrelation ``r`` of an AR(1) series
widens the standard error of its mean, and the verdict must survive that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 6
"""Blocks below which nothing can be told."""
LEVEL = 0.10
"""One-sided level of the check: it only widens an interval, so that it may be quick to."""
LARGEST = 0.9
"""Largest autocorrelation that is assumed: short series cannot tell more."""


class Drift(NamedTuple):
    """A drift as found.

    Attributes:
        p: Of von Neumann's ratio by ranks, for neighbours being alike.
        r: Lag-1 autocorrelation, corrected for its bias in short series.
        widened: By which factor an interval is to be widened.
    """

    p: float
    r: float
    widened: float


def drift(series: Sequence[float]) -> Drift | None:
    """Return the drift of a series of blocks in order, None where there is none to be seen."""
    n = len(series)
    if n < LEAST:
        return None
    ranks = _ranks(series)
    deviations = ranks - ranks.mean()
    total = float(deviations @ deviations)
    if total == 0:
        return None
    p = ratio_p(float(np.sum(np.diff(ranks) ** 2)) / total, n)
    if p > LEVEL:
        return None
    plain = float(deviations[:-1] @ deviations[1:]) / total
    r = min(max((plain + 1 / n) / (1 - 4 / n), 0.0), LARGEST)  # E[r] = rho - (1 + 4 rho) / n (Kendall 1954)
    return Drift(p, r, math.sqrt((1 + r) / (1 - r)))


def ratio_p(value: float, n: int) -> float:
    """Return the one-sided p of von Neumann's ratio by ranks, by Bartels' normal approximation."""
    variance = 4 * (n - 2) * (5 * n * n - 2 * n - 9) / (5 * n * (n + 1) * (n - 1) ** 2)
    return 0.5 * math.erfc((2 - value) / math.sqrt(2 * variance))


def _ranks(series: Sequence[float]) -> np.ndarray:
    """Return ranks from 1, ties at their mean."""
    values = np.asarray(series, np.float64)
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: np.ndarray = below + (equal + 1) / 2
    return ranks
