"""How often the comparison errs: the same code on both sides, and slow-downs of known size. Pure.

Base runs of one version are the pool. A comparison draws pairs of neighbours in time from it, as
``fedbench ab`` makes them, and a second, disjoint set of pairs for its confirmation. Nothing has changed
between the sides, so whatever is confirmed is a false alarm; a candidate with one metric multiplied shows
what is detected. Comparisons share base runs, so they are fewer independent trials than their number, and the
exact bounds, which take them as independent, are narrower than they should be.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.gate.compare import Key, Sides, compare, confirmed, key_of, suspected
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
WINDOW = 10
"""Blocks that stand for one stored run where drift is told."""

Pair = tuple[int, int]


class Outcome(NamedTuple):
    """What came of comparisons.

    Attributes:
        comparisons: How many.
        hits: Those that confirmed what they were to find; without an injection, anything at all.
        alarms: What else was confirmed, by metric.
    """

    comparisons: int
    hits: int
    alarms: dict[Key, int]


def false_alarms(
    pool: Mapping[Key, Values], margins: Mapping[str, Margin], blocks: int, comparisons: int, seed: int
) -> Outcome:
    """Compare the pool with itself.

    Args:
        pool: Values by metric and block.
        margins: What matters.
        blocks: Pairs of each batch.
        comparisons: How often.
        seed: Of the draws.

    Raises:
        ValueError: The pool has fewer than ``4 * blocks`` blocks.
    """
    rng, alarms, hits = random.Random(seed), dict[Key, int](), 0
    for _ in range(comparisons):
        found = suspected(_comparison(pool, margins, blocks, rng))
        hits += bool(found)
        for change in found:
            alarms[key_of(change)] = alarms.get(key_of(change), 0) + 1
    return Outcome(comparisons, hits, alarms)


def detections(
    pool: Mapping[Key, Values], margins: Mapping[str, Margin], blocks: int, comparisons: int, seed: int
) -> Outcome:
    """Compare the pool with itself, one metric made worse by twice its margin; arguments as above.

    Every metric that can be made worse has its turn. It counts as found if it is confirmed as regressed.
    """
    rng, alarms, hits = random.Random(seed), dict[Key, int](), 0
    keys = injectable(pool, margins)
    for number in range(comparisons):
        target = keys[number % len(keys)]
        share = 1 + 2 * margins[target.metric].share
        factor = share if METRICS[target.metric].direction == "lower" else 1 / share
        found = suspected(_comparison(pool, margins, blocks, rng, {target: factor}))
        hits += any(key_of(c) == target and c.verdict == "regressed" for c in found)
        for change in found:
            if key_of(change) != target:
                alarms[key_of(change)] = alarms.get(key_of(change), 0) + 1
    return Outcome(comparisons, hits, alarms)


def injectable(pool: Mapping[Key, Values], margins: Mapping[str, Margin]) -> list[Key]:
    """Return the metrics that twice their margin would lift above their absolute floor."""
    return [
        key
        for key, values in pool.items()
        if key.metric in margins
        and min(values.values()) > 0
        and 2 * margins[key.metric].share * float(np.median(list(values.values())))
        > margins[key.metric].floor
    ]


def enough_blocks(
    pool: Mapping[Key, Values], margins: Mapping[str, Margin], comparisons: int, seed: int
) -> tuple[int, Outcome]:
    """Return the fewest blocks of a batch that find what :func:`detections` injects, and how well they do.

    Where none of them does, the most that the pool allows.

    Raises:
        ValueError: The pool is too small for the fewest.
    """
    outcome, chosen = None, CHOICES[0]
    most = len({block for values in pool.values() for block in values})
    for blocks in CHOICES:
        if outcome is not None and 4 * blocks > most:
            break
        chosen, outcome = blocks, detections(pool, margins, blocks, comparisons, seed)
        if outcome.hits >= POWER * outcome.comparisons:
            break
    assert outcome is not None
    return chosen, outcome


def drifts(pool: Mapping[Key, Values]) -> dict[Key, float]:
    """Return how far stretches of the same code lay apart, by metric, as the largest absolute log-ratio.

    A stretch is :data:`WINDOW` blocks in a row, as long as a stored run; metrics with a zero have none.
    """
    found = {}
    for key, values in pool.items():
        ordered = [values[block] for block in sorted(values)]
        if len(ordered) >= 2 * WINDOW and min(ordered) > 0:
            starts = range(0, len(ordered) - WINDOW + 1, WINDOW)
            medians = [math.log(float(np.median(ordered[at : at + WINDOW]))) for at in starts]
            found[key] = max(medians) - min(medians)
    return found


def bounds(outcome: Outcome) -> tuple[float, float]:
    """Return the lower and upper 95 % bound of the rate of hits."""
    return rate_lower(outcome.hits, outcome.comparisons), rate_upper(outcome.hits, outcome.comparisons)


def _comparison(
    pool: Mapping[Key, Values],
    margins: Mapping[str, Margin],
    blocks: int,
    rng: random.Random,
    factors: Mapping[Key, float] | None = None,
) -> list[Change]:
    pairs = _neighbours(sorted({block for values in pool.values() for block in values}), rng)
    if len(pairs) < 2 * blocks:
        raise ValueError(f"{len(pairs)} pairs of base runs are too few for two batches of {blocks}")
    drawn = rng.sample(pairs, 2 * blocks)
    first, second = (
        compare(_sides(pool, batch, factors or {}), margins) for batch in (drawn[:blocks], drawn[blocks:])
    )
    return confirmed(first, second)


def _neighbours(blocks: Sequence[int], rng: random.Random) -> list[Pair]:
    """Return disjoint pairs of neighbours; which of two is the base, and where they begin, is drawn."""
    start = rng.randrange(2)
    pairs = zip(blocks[start::2], blocks[start + 1 :: 2], strict=False)
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]


def _sides(
    pool: Mapping[Key, Values], pairs: Sequence[Pair], factors: Mapping[Key, float]
) -> dict[Key, Sides]:
    sides = {}
    for key, values in pool.items():
        both = [(values[a], values[b]) for a, b in pairs if a in values and b in values]
        if both:
            factor = factors.get(key, 1.0)
            sides[key] = Sides([a for a, _ in both], [b * factor for _, b in both])
    return sides
