"""The least that comparisons can tell on a machine, drawn from base runs of one version. Pure."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np

from harness.regression.changes import ALPHA
from harness.regression.drawing import blocks_of, stretches, trios
from harness.regression.verdict import Key, Told
from harness.stats.paired import hodges_lehmann, signed_rank_interval
from harness.stats.unpaired import rank_sum_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.regression.drawing import Pool
    from harness.regression.margins import Margin

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


def enough_blocks(pool: Pool, margins: Mapping[str, Margin]) -> int:
    """Return the fewest blocks of a batch with which three quarters of the metrics keep their usual margin.

    Where none of those that the pool allows does, the most of them.
    """
    varying = {key: values for key, values in pool.items() if key not in _constant(pool, paired=True)}
    available, chosen = len(blocks_of(pool)) // 6, CHOICES[0]  # two batches of trios
    for blocks in CHOICES:
        if blocks > max(available, CHOICES[0]):
            break
        chosen = blocks
        told = told_side_by_side(varying, blocks)
        usual = [key for key, of in told.items() if of.share <= margins[key.metric].share]
        if told and len(usual) >= USUAL_SHARE * len(told):
            break
    return chosen


def told_side_by_side(pool: Pool, blocks: int, seed: int = 0) -> dict[Key, Told]:
    """Return what a batch of so many blocks can tell, by metric; a share of 0 of one that is constant.

    A change of twice a margin is found where the lower bound of the pairs' log-ratios, without a change, lies
    less than the margin below zero, by more than its control shows of drift. So the margin is what
    :data:`WITHIN` of redrawn batches stay within, at the confidence that Holm's method asks of the strongest
    suspicion. It is drawn for either test, of pairs and of two samples, and the one that tells less is taken:
    pairs take out what blocks differ by, and suffer the outliers of both sides. Metrics without such a bound,
    and those with some zeros, have none.
    """
    rng, confidence = random.Random(seed), _confidence(pool)
    by_pairs: dict[Key, list[float]] = {key: [] for key in _positive(pool)}
    by_samples: dict[Key, list[float]] = {key: [] for key in by_pairs}
    for _ in range(DRAWS):
        drawn = trios(blocks_of(pool), rng)
        batch = rng.sample(drawn, min(blocks, len(drawn)))
        for key in by_pairs:
            logs = {block: math.log(value) for block, value in pool[key].items()}
            whole = [[logs[block] for block in trio] for trio in batch if logs.keys() >= set(trio)]
            by_pairs[key] += _lacking_in_pairs(whole, confidence)
            by_samples[key] += _lacking_in_samples(whole, confidence)
    pairs, samples = _within(by_pairs), _within(by_samples)
    found = _constant(pool, paired=True)
    for key in pairs.keys() | samples.keys():
        shares = {True: pairs.get(key, math.inf), False: samples.get(key, math.inf)}
        paired = shares[True] <= shares[False]
        found.setdefault(key, Told(shares[paired], paired))
    return found


def _lacking_in_pairs(trios: Sequence[Sequence[float]], confidence: float) -> list[float]:
    """Return how far the bounds lie from no change in either direction, and the control beside them."""
    if not trios:
        return [math.inf]
    bounds = signed_rank_interval([candidate - base for base, candidate, _ in trios], confidence)
    apart = abs(hodges_lehmann([again - base for base, _, again in trios]))
    return [apart - bounds.low, apart + bounds.high]


def _lacking_in_samples(trios: Sequence[Sequence[float]], confidence: float) -> list[float]:
    """Return the same for the test of two samples."""
    if not trios:
        return [math.inf]
    base, candidate, again = zip(*trios, strict=True)
    bounds = rank_sum_interval(base, candidate, confidence)
    apart = abs(rank_sum_interval(base, again).value)
    return [apart - bounds.low, apart + bounds.high]


def told_apart(pool: Pool, blocks: int, seed: int = 0) -> dict[Key, Told]:
    """Return what stored runs of so many blocks can tell, by metric.

    As :func:`told_side_by_side`, for stretches of blocks, each half of one of which has to confirm: what the
    same code differs by from one stretch to another is part of it.
    """
    rng, confidence = random.Random(seed), _confidence(pool)
    lacking: dict[Key, list[float]] = {key: [] for key in _positive(pool)}
    for _ in range(DRAWS):
        base, candidate = stretches(blocks_of(pool), blocks, rng)
        halves = ((candidate, confidence), (candidate[: blocks // 2], 0.95), (candidate[blocks // 2 :], 0.95))
        for key, found in lacking.items():
            logs = {block: math.log(value) for block, value in pool[key].items()}
            x = [logs[b] for b in base if b in logs]
            parts = [([logs[b] for b in part if b in logs], level) for part, level in halves]
            if not x or not all(part for part, _ in parts):
                found.append(math.inf)
                continue
            bounds = [rank_sum_interval(x, part, level) for part, level in parts]
            found += [max(-bound.low for bound in bounds), max(bound.high for bound in bounds)]
    shares = {key: Told(share, paired=False) for key, share in _within(lacking).items()}
    return _constant(pool, paired=False) | shares


def _constant(pool: Pool, *, paired: bool) -> dict[Key, Told]:
    return {key: Told(0.0, paired) for key, values in pool.items() if len(set(values.values())) == 1}


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
