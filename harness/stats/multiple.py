"""Several tests at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values: comparing each with alpha holds the chance of any false alarm below alpha.

    The i-th smallest of m is multiplied by ``m - i + 1``, and none becomes smaller than the one before it
    (Holm 1979). It assumes nothing about how the tests depend on each other.

    Args:
        p_values: In any order, each in [0, 1].

    Raises:
        ValueError: One is out of range.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no p-value: it must lie in [0, 1]")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
