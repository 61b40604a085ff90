"""When a criterion may be decided, and how much error each look may spend. Pure.

A criterion is looked at several times while its blocks come in. Each look spends a part of the total
one-sided error, by the spending function ``alpha * ln(1 + (e - 1) t)`` of the share ``t`` of the last look's
blocks (Lan & DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 1983; the form that
approximates Pocock's boundaries). A look tests at the level that it spends, without use of the correlation
between looks: by Bonferroni's inequality the total error is then at most alpha, for any dependence between
looks, and also where a void block moves a look, as long as the values do not decide when it comes.

With looks at 6, 10, 16 and 24 blocks and alpha 0.05 the levels are .0179, .0091, .0112 and .0118. The first
is above 1/64, the smallest p of the signed-rank test with 6 blocks: where all six blocks hold, the criterion
is decided. A spending function of the O'Brien & Fleming type would leave nothing for a look that early.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHA = 0.05
"""Total one-sided error of a criterion: of passing by mistake, and of being suspected to fail by mistake."""
LOOKS = (6, 10, 16, 24)
"""Usual looks, in blocks."""
CONFIRMING = 6
"""Fresh blocks that confirm a suspected fail, or that show a violation of an exact kind once more."""
CONFIRMING_LEVEL = 2.0**-CONFIRMING
"""Level of the confirmation: each of its blocks must lie on the failing side."""


class Look(NamedTuple):
    """One look at a criterion.

    Attributes:
        n: Blocks that it takes, the first ``n`` quiet ones.
        level: One-sided error that it may spend.
    """

    n: int
    level: float


def spent(share: float, alpha: float = ALPHA) -> float:
    """Return the error spent when a share of the blocks, in [0, 1], has been seen."""
    return alpha * math.log1p((math.e - 1) * min(share, 1.0))


def looks_at(sizes: Sequence[int], n: int, *, over: bool, alpha: float = ALPHA) -> list[Look]:
    """Return the looks that ``n`` blocks allow.

    Args:
        sizes: Blocks of each look, increasing.
        n: Blocks that there are.
        over: Whether no more will come: a last look then takes what there is and spends all that is left.
        alpha: Total one-sided error.
    """
    looks: list[Look] = []
    before = 0.0
    for size in sizes:
        if size > n:
            if over and n > (looks[-1].n if looks else 0):
                looks.append(Look(n, alpha - before))
            break
        now = alpha if size == sizes[-1] else spent(size / sizes[-1], alpha)
        looks.append(Look(size, now - before))
        before = now
    return looks


def least_blocks(level: float) -> int:
    """Return the fewest blocks whose signed-rank test can be significant at a level."""
    return math.ceil(-math.log2(level))
