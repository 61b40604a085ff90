"""Base runs of one version as a pool, and comparisons of it with itself that are drawn from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.regression.verdict import Key

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from harness.regression.stored import Values

Pool = dict[Key, "Values"]
"""Values of every metric, by block."""


def blocks_of(pool: Pool) -> list[int]:
    """Return every block that any metric has a value of."""
    return sorted({block for values in pool.values() for block in values})


class Trio(NamedTuple):
    """Base runs that stand for one block of a comparison side by side."""

    base: int
    candidate: int
    again: int


def trios(blocks: Sequence[int], rng: random.Random) -> list[Trio]:
    """Return disjoint trios of neighbours; which is which, and where they begin, is drawn."""
    start = rng.randrange(len(blocks) % 3 + 1)
    return [Trio(*rng.sample(blocks[at : at + 3], 3)) for at in range(start, len(blocks) - 2, 3)]


def stretches(blocks: Sequence[int], length: int, rng: random.Random) -> list[Sequence[int]]:
    """Return two stretches of blocks that do not overlap, in either order."""
    if len(blocks) < 2 * length:
        raise ValueError(f"{len(blocks)} base runs are too few for two runs of {length} blocks")
    first = rng.randrange(len(blocks) - 2 * length + 1)
    second = rng.randrange(first + length, len(blocks) - length + 1)
    stretches = [blocks[at : at + length] for at in (first, second)]
    rng.shuffle(stretches)
    return stretches
