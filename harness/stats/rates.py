"""Exact bounds of a rate that was observed as so many of so many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def rate_upper(events: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate (Clopper & Pearson 1934).

    It is the rate at which as few events as these have the probability ``1 - confidence``; for none of n
    that is ``1 - (1 - confidence) ** (1 / n)``, about 3 / n at 0.95.

    Args:
        events: How often it happened.
        trials: How often it could have, at least 1.
        confidence: In (0, 1).

    Raises:
        ValueError: An argument is out of range.
    """
    _check(events, trials, confidence)
    if events == trials:
        return 1.0
    k = np.arange(events + 1)
    # In logarithms: from 1 030 trials on there are more combinations than a float can count.
    combinations = np.array(
        [math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k.tolist()]
    )

    def at_most(rate: float) -> float:
        """Return the probability of at most so many events."""
        if rate == 1:
            return 0.0
        return float(np.exp(combinations + k * math.log(rate) + (trials - k) * math.log1p(-rate)).sum())

    return _bisect(lambda rate: at_most(rate) > 1 - confidence)


def rate_lower(events: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of a rate; see :func:`rate_upper`."""
    return 1.0 - rate_upper(trials - events, trials, confidence)


def _check(events: int, trials: int, confidence: float) -> None:
    if trials < 1 or not 0 <= events <= trials or not 0 < confidence < 1:
        raise ValueError(
            f"{events} of {trials} at confidence {confidence}: there must be at least one trial, no more "
            "events than trials, and a confidence in (0, 1)"
        )


def _bisect(above: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):  # to the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return high
