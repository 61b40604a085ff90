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
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from harness.gate.compare import ALPHA, Key, Sides, compare, confirmed, halved, key_of, suspected
from harness.records.metrics import METRICS
from harness.stats.paired import signed_rank_interval
from harness.stats.rates import rate_lower, rate_upper
from harness.stats.unpaired import rank_sum_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.gate.margins import Margin
    from harness.gate.stored import Values
    from harness.records.schema import Change

CHOICES = (8, 10, 12, 15, 20)
"""Blocks of a batch that are tried, fewest first."""
USUAL_SHARE = 0.75
"""Share of the metrics that keep their usual margin where there are enough blocks."""
DRAWS = 200
"""Batches that are drawn to see what they can tell."""
LARGEST = 9.0
"""Share that stands for a metric that is noise: tenfold."""
WITHIN = 0.95
"""Share of them that a margin has to hold: two batches have to find a change, and draws share base runs."""

Pool = dict[Key, "Values"]
Factors = dict[Key, float]


class Procedure(Protocol):
    """How samples for one comparison are drawn from a pool, and compared."""

    @property
    def least(self) -> Mapping[Key, float]:
        """Least share that can be told, by metric."""
        ...

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
        least: Least share that can be told, by metric.
    """

    margins: Mapping[str, Margin]
    blocks: int
    least: Mapping[Key, float] = MappingProxyType({})

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two batches of pairs of neighbours."""
        pairs = _neighbours(blocks_of(pool), rng)
        if len(pairs) < 2 * self.blocks:
            raise ValueError(f"{len(pairs)} pairs of base runs are too few for two batches of {self.blocks}")
        drawn = rng.sample(pairs, 2 * self.blocks)
        first, second = (
            _paired(pool, batch, factors, self.least)
            for batch in (drawn[: self.blocks], drawn[self.blocks :])
        )
        return confirmed(compare(first, self.margins), second, self.margins)


class Apart(NamedTuple):
    """Runs that were stored at different times.

    Attributes:
        margins: What matters.
        blocks: Blocks of each run.
        least: Least share that can be told, by metric.
    """

    margins: Mapping[str, Margin]
    blocks: int
    least: Mapping[Key, float] = MappingProxyType({})

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two stretches of blocks that do not overlap."""
        base, candidate = _stretches(blocks_of(pool), self.blocks, rng)
        sides = {}
        for key, values in pool.items():
            before = [values[b] for b in base if b in values]
            after = {b: values[b] * factors.get(key, 1.0) for b in candidate if b in values}
            if before and after:
                sides[key] = (before, after)
        return halved(sides, self.margins, candidate, {}, self.least)


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
        share = 1 + 2 * max(margins[target.metric].share, procedure.least.get(target, 0.0))
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


def enough_blocks(pool: Pool, margins: Mapping[str, Margin]) -> int:
    """Return the fewest blocks of a batch with which three quarters of the metrics keep their usual margin.

    Where none of those that the pool allows does, the most of them.
    """
    available, chosen = (len(blocks_of(pool)) - 1) // 4, CHOICES[0]  # pairs may begin at the second
    for blocks in CHOICES:
        if blocks > max(available, CHOICES[0]):
            break
        chosen = blocks
        shares = least_side_by_side(pool, blocks)
        usual = [key for key, share in shares.items() if share <= margins[key.metric].share]
        if shares and len(usual) >= USUAL_SHARE * len(shares):
            break
    return chosen


def least_side_by_side(pool: Pool, blocks: int, seed: int = 0) -> dict[Key, float]:
    """Return the least margin that pairs of so many blocks can hold, by metric without zeros.

    A change of twice a margin is found where the lower bound of the pairs' log-ratios, without a change, lies
    less than the margin below zero. So the margin is what :data:`WITHIN` of the bounds of redrawn pairs stay
    within, at the confidence that Holm's method asks of the strongest suspicion. Metrics without such a bound
    have none.
    """
    rng, confidence = random.Random(seed), _confidence(pool)
    lacking: dict[Key, list[float]] = {key: [] for key in _positive(pool)}
    for _ in range(DRAWS):
        pairs = _neighbours(blocks_of(pool), rng)
        batch = rng.sample(pairs, min(blocks, len(pairs)))
        for key, found in lacking.items():
            values = pool[key]
            d = [math.log(values[b] / values[a]) for a, b in batch if a in values and b in values]
            bounds = signed_rank_interval(d, confidence)
            found += [-bounds.low, bounds.high]
    return _within(lacking)


def least_apart(pool: Pool, blocks: int, seed: int = 0) -> dict[Key, float]:
    """Return the least margin that stored runs of so many blocks can hold, by metric without zeros.

    As :func:`least_side_by_side`, for stretches of blocks, each half of one of which has to confirm: what the
    same code differs by from one stretch to another is part of it.
    """
    rng, confidence = random.Random(seed), _confidence(pool)
    lacking: dict[Key, list[float]] = {key: [] for key in _positive(pool)}
    for _ in range(DRAWS):
        base, candidate = _stretches(blocks_of(pool), blocks, rng)
        halves = ((candidate, confidence), (candidate[: blocks // 2], 0.95), (candidate[blocks // 2 :], 0.95))
        for key, found in lacking.items():
            logs = {block: math.log(value) for block, value in pool[key].items()}
            x = [logs[b] for b in base if b in logs]
            bounds = [
                rank_sum_interval(x, [logs[b] for b in part if b in logs], level) for part, level in halves
            ]
            found += [max(-bound.low for bound in bounds), max(bound.high for bound in bounds)]
    return _within(lacking)


def _within(lacking: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    return {
        key: _share_within(float(np.quantile(found, WITHIN)))
        for key, found in lacking.items()
        if all(map(math.isfinite, found))
    }


def _share_within(lacking: float) -> float:
    """Return the share of which twice as much lies further beyond it than a bound may lack, as a log-ratio.

    With ``r = exp(lacking)``, ``(1 + 2 s) / (1 + s) = r`` gives ``s = (r - 1) / (2 - r)``.
    """
    ratio = math.exp(max(0.0, lacking))
    return min(LARGEST, (ratio - 1) / (2 - ratio)) if ratio < 2 else LARGEST


def _positive(pool: Pool) -> list[Key]:
    return [key for key, values in pool.items() if min(values.values()) > 0]


def _confidence(pool: Pool) -> float:
    """Return what Holm's method asks of the strongest of all tests that can reject at all."""
    return 1 - ALPHA / max(1, sum(len(set(values.values())) > 1 for values in pool.values()))


def blocks_of(pool: Pool) -> list[int]:
    """Return every block that any metric has a value of."""
    return sorted({block for values in pool.values() for block in values})


def _neighbours(blocks: Sequence[int], rng: random.Random) -> list[tuple[int, int]]:
    """Return disjoint pairs of neighbours; which of two is the base, and where they begin, is drawn."""
    start = rng.randrange(2)
    pairs = zip(blocks[start::2], blocks[start + 1 :: 2], strict=False)
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]


def _stretches(blocks: Sequence[int], length: int, rng: random.Random) -> list[Sequence[int]]:
    """Return two stretches of blocks that do not overlap, in either order."""
    if len(blocks) < 2 * length:
        raise ValueError(f"{len(blocks)} base runs are too few for two runs of {length} blocks")
    first = rng.randrange(len(blocks) - 2 * length + 1)
    second = rng.randrange(first + length, len(blocks) - length + 1)
    stretches = [blocks[at : at + length] for at in (first, second)]
    rng.shuffle(stretches)
    return stretches


def _paired(
    pool: Pool, pairs: Sequence[tuple[int, int]], factors: Factors, least: Mapping[Key, float]
) -> dict[Key, Sides]:
    sides = {}
    for key, values in pool.items():
        both = [(values[a], values[b]) for a, b in pairs if a in values and b in values]
        if both:
            factor = factors.get(key, 1.0)
            candidate = [b * factor for _, b in both]
            sides[key] = Sides([a for a, _ in both], candidate, least=least.get(key, 0.0))
    return sides
