"""Base runs of one version as a pool, and comparisons of it with itself that are drawn from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.gate.verdicts import Key

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from harness.gate.stored import Values

Pool = dict[Key, "Values"]
"""Values of every metric, by block."""


def blocks_of(pool: Pool) -> list[int]:
    """Return every block that any metric has a value of."""
    return sorted({block for values in pool.values() for block in values})


def neighbours(blocks: Sequence[int], rng: random.Random) -> list[tuple[int, int]]:
    """Return disjoint pairs of neighbours; which of two is the base, and where they begin, is drawn."""
    start = rng.randrange(2)
    pairs = zip(blocks[start::2], blocks[start + 1 :: 2], strict=False)
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]


def stretches(blocks: Sequence[int], length: int, rng: random.Random) -> list[Sequence[int]]:
    """Return two stretches of blocks that do not overlap, in either order."""
    if len(blocks) < 2 * length:
        raise ValueError(f"{len(blocks)} base runs are too few for two runs of {length} blocks")
    first = rng.randrange(len(blocks) - 2 * length + 1)
    second = rng.randrange(first + length, len(blocks) - length + 1)
    stretches = [blocks[at : at + length] for at in (first, second)]
    rng.shuffle(stretches)
    return stretches
