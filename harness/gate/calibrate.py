"""How often the comparison errs: the same code on both sides, and slow-downs of known size. Pure.

Base runs of one version are the pool, block by block. A comparison is drawn from it as commands make them:
versions side by side (:class:`SideBySide`) as pairs of neighbours in time, stored runs (:class:`Apart`) as
stretches of blocks; either with other blocks for its confirmation. Nothing has changed between the sides, so
whatever is confirmed is a false alarm; a candidate with one metric made worse shows what is detected.
Comparisons share base runs, so they are fewer independent trials than their number, and the exact bounds,
which take them as independent, are narrower than they should be.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from harness.gate.compare import Key, Sides, compare, confirmed, halved, key_of, suspected
from harness.records.metrics import METRICS
from harness.stats.rates import rate_lower, rate_upper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.gate.margins import Margin
    from harness.gate.stored import Values
    from harness.records.schema import Change

CHOICES = (8, 10, 12, 15, 20)
"""Blocks of a batch that are tried, fewest first."""
POWER = 0.90

Pool = dict[Key, "Values"]
Factors = dict[Key, float]


class Procedure(Protocol):
    """How samples for one comparison are drawn from a pool, and compared."""

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of one comparison, the candidate's metrics multiplied by factors.

        Raises:
            ValueError: The pool is too small.
        """
        ...


class SideBySide(NamedTuple):
    """Versions that are measured in the same blocks.

    Attributes:
        margins: What matters.
        blocks: Pairs of each batch.
    """

    margins: Mapping[str, Margin]
    blocks: int

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two batches of pairs of neighbours."""
        pairs = _neighbours(blocks_of(pool), rng)
        if len(pairs) < 2 * self.blocks:
            raise ValueError(f"{len(pairs)} pairs of base runs are too few for two batches of {self.blocks}")
        drawn = rng.sample(pairs, 2 * self.blocks)
        first, second = (
            compare(_paired(pool, batch, factors), self.margins)
            for batch in (drawn[: self.blocks], drawn[self.blocks :])
        )
        return confirmed(first, second)


class Apart(NamedTuple):
    """Runs that were stored at different times.

    Attributes:
        margins: What matters.
        blocks: Blocks of each run.
        drift: What is allowed for, by metric.
    """

    margins: Mapping[str, Margin]
    blocks: int
    drift: Mapping[Key, float | None]

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two stretches of blocks that do not overlap."""
        blocks = blocks_of(pool)
        if len(blocks) < 2 * self.blocks:
            raise ValueError(f"{len(blocks)} base runs are too few for two runs of {self.blocks} blocks")
        first = rng.randrange(len(blocks) - 2 * self.blocks + 1)
        second = rng.randrange(first + self.blocks, len(blocks) - self.blocks + 1)
        stretches = [blocks[at : at + self.blocks] for at in (first, second)]
        rng.shuffle(stretches)
        base, candidate = stretches
        sides = {}
        for key, values in pool.items():
            before = [values[b] for b in base if b in values]
            after = {b: values[b] * factors.get(key, 1.0) for b in candidate if b in values}
            if before and after:
                sides[key] = (before, after)
        return halved(sides, self.margins, candidate, self.drift)


class Tally(NamedTuple):
    """What came of comparisons.

    Attributes:
        comparisons: How many.
        hits: Those that confirmed what they were to find; without an injection, anything at all.
        others: What else was confirmed, by metric.
    """

    comparisons: int
    hits: int
    others: dict[Key, int]

    @property
    def lower(self) -> float:
        """Lower 95 % bound of the rate of hits."""
        return rate_lower(self.hits, self.comparisons)

    @property
    def upper(self) -> float:
        """Upper 95 % bound of the rate of hits."""
        return rate_upper(self.hits, self.comparisons)


def false_alarms(pool: Pool, procedure: Procedure, comparisons: int, seed: int) -> Tally:
    """Compare a pool with itself so many times.

    Raises:
        ValueError: The pool is too small.
    """
    rng, others, hits = random.Random(seed), dict[Key, int](), 0
    for _ in range(comparisons):
        found = suspected(procedure.changes(pool, {}, rng))
        hits += bool(found)
        for change in found:
            others[key_of(change)] = others.get(key_of(change), 0) + 1
    return Tally(comparisons, hits, others)


def detections(
    pool: Pool, margins: Mapping[str, Margin], procedure: Procedure, comparisons: int, seed: int
) -> Tally:
    """Compare a pool with itself, one metric made worse by twice its margin; each metric has its turn.

    A hit is a comparison that confirms that metric as regressed.

    Raises:
        ValueError: The pool is too small, or holds nothing that can be made worse.
    """
    rng, others, hits = random.Random(seed), dict[Key, int](), 0
    keys = injectable(pool, margins)
    if not keys:
        raise ValueError("no metric of the base runs is large enough to be made worse by twice its margin")
    for number in range(comparisons):
        target = keys[number % len(keys)]
        share = 1 + 2 * margins[target.metric].share
        factor = share if METRICS[target.metric].direction == "lower" else 1 / share
        found = suspected(procedure.changes(pool, {target: factor}, rng))
        hits += any(key_of(change) == target and change.verdict == "regressed" for change in found)
        for change in found:
            if key_of(change) != target:
                others[key_of(change)] = others.get(key_of(change), 0) + 1
    return Tally(comparisons, hits, others)


def injectable(pool: Pool, margins: Mapping[str, Margin]) -> list[Key]:
    """Return the metrics that twice their margin lifts above their absolute floor."""
    return [
        key
        for key, values in pool.items()
        if key.metric in margins
        and min(values.values()) > 0
        and 2 * margins[key.metric].share * float(np.median(list(values.values())))
        > margins[key.metric].floor
    ]


def enough_blocks(pool: Pool, margins: Mapping[str, Margin], comparisons: int, seed: int) -> int:
    """Return the fewest blocks of a batch that find 90 % of what is injected, side by side.

    Where none of those that the pool allows does, the most of them.

    Raises:
        ValueError: The pool is too small for the fewest.
    """
    available, chosen = (len(blocks_of(pool)) - 1) // 4, CHOICES[0]  # pairs may begin at the second
    for blocks in CHOICES:
        if blocks > max(available, CHOICES[0]):
            break
        chosen = blocks
        if (
            detections(pool, margins, SideBySide(margins, blocks), comparisons, seed).hits
            >= POWER * comparisons
        ):
            break
    return chosen


def drifts(pool: Pool, stretch: int) -> dict[Key, float]:
    """Return how far stretches of the same code lay apart: the largest log-ratio of their medians, by metric.

    Metrics with a zero, or too few blocks for two stretches, have none.
    """
    found = {}
    for key, values in pool.items():
        ordered = [values[block] for block in sorted(values)]
        if len(ordered) >= 2 * stretch and min(ordered) > 0:
            starts = range(0, len(ordered) - stretch + 1, stretch)
            medians = [math.log(float(np.median(ordered[at : at + stretch]))) for at in starts]
            found[key] = max(medians) - min(medians)
    return found


def blocks_of(pool: Pool) -> list[int]:
    """Return every block that any metric has a value of."""
    return sorted({block for values in pool.values() for block in values})


def _neighbours(blocks: Sequence[int], rng: random.Random) -> list[tuple[int, int]]:
    """Return disjoint pairs of neighbours; which of two is the base, and where they begin, is drawn."""
    start = rng.randrange(2)
    pairs = zip(blocks[start::2], blocks[start + 1 :: 2], strict=False)
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]


def _paired(pool: Pool, pairs: Sequence[tuple[int, int]], factors: Factors) -> dict[Key, Sides]:
    sides = {}
    for key, values in pool.items():
        both = [(values[a], values[b]) for a, b in pairs if a in values and b in values]
        if both:
            factor = factors.get(key, 1.0)
            sides[key] = Sides([a for a, _ in both], [b * factor for _, b in both])
    return sides
