"""How much of the error rate each look at the data may use. Pure.

Who looks several times and stops as soon as a bound clears the target errs more often than he says, unless
each look is held to a part of the error rate (alpha spending, Lan & DeMets 1983). The parts add up to the
whole (Bonferroni), which holds whatever the looks share. The first look gets as much as it needs to be able
to decide at all: with n blocks the smallest p-value of the signed-rank test is 2**-n, so six blocks that all
say the same decide at 1/64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHA = 0.05
"""Chance of passing what lies exactly at its target, over all looks; likewise of suspecting it."""
CONFIRMING = 6
"""Fresh blocks that have to miss the target by themselves before a criterion fails."""


def confidences(looks: Sequence[int], alpha: float = ALPHA) -> list[float]:
    """Return the one-sided confidence of the bounds at each look.

    Args:
        looks: Numbers of blocks, growing.
        alpha: Error rate over all looks together, in one direction.

    Raises:
        ValueError: There is no look, or they do not grow.
    """
    if not looks or any(b <= a for a, b in zip((0, *looks), looks, strict=False)):
        raise ValueError(f"looks are {list(looks)}: at least one is needed, each larger than the one before")
    if len(looks) == 1:
        return [1 - alpha]
    first = alpha / len(looks)
    if 2.0 ** -looks[0] <= alpha / 2:
        first = max(first, 2.0 ** -looks[0])
    rest = (alpha - first) / (len(looks) - 1)
    return [1 - first, *[1 - rest] * (len(looks) - 1)]


def fewest(confidence: float) -> int:
    """Return with how many blocks the signed-rank test has a bound at a one-sided confidence."""
    blocks = 1
    while 2.0**-blocks > 1 - confidence:
        blocks += 1
    return blocks
