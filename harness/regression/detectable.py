"""The change that comparisons can detect on a machine, drawn from base runs of one version. Pure.

That is a statement of power and no threshold: what counts as a change stays the margin. A change of log-ratio
``d`` is found where the lower bound of the estimate clears the margin ``m`` and the control ``c``. With the
bound of base runs alone, ``l``, that is ``d > m + c - l``: so ``m`` plus a high quantile of ``c - l`` over
redrawn batches is what nearly all of them find.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np

from harness.regression.changes import ALPHA, CONFIRM
from harness.regression.drawing import blocks_of, stretches, trios
from harness.regression.margins import drift
from harness.regression.verdict import Detectable, Key
from harness.stats.paired import hodges_lehmann, signed_rank_interval
from harness.stats.unpaired import rank_sum_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.regression.drawing import Pool
    from harness.regression.margins import Margin

CHOICES = (10, 12, 16)
"""Blocks of a batch that are tried, fewest first: ten pairs can confirm up to ten suspicions."""
USUAL_SHARE = 0.75
"""Share of the metrics in which twice the margin can be detected where there are enough blocks."""
DRAWS = 100
"""Batches that are drawn to see what they can detect."""
SUSPICIONS = 4
"""Metrics that a fresh batch usually tests: its level is shared among them."""
BEYOND = 1.1
"""Margins that a change of a metric is found from which is always the same."""
LARGEST = 9.0
"""Share that stands for a metric that is noise: tenfold."""
WITHIN = 0.95
"""Share of the batches that find it: both of two have to, which leaves nine of ten comparisons."""


def enough_blocks(pool: Pool, margins: Mapping[str, Margin]) -> int:
    """Return the fewest blocks of a batch that detect twice the margin in three quarters of the metrics.

    Where none of those that the pool allows does, the most of them.
    """
    varying = {
        key: values for key, values in pool.items() if key not in _constant(pool, margins, paired=True)
    }
    available, chosen = len(blocks_of(pool)) // 6, CHOICES[0]  # two batches of trios
    for blocks in CHOICES:
        if blocks > max(available, CHOICES[0]):
            break
        chosen = blocks
        found = detectable_side_by_side(varying, margins, blocks)
        usual = [key for key, of in found.items() if of.share <= 2 * margins[key.metric].share]
        if found and len(usual) >= USUAL_SHARE * len(found):
            break
    return chosen


def detectable_side_by_side(
    pool: Pool, margins: Mapping[str, Margin], blocks: int, seed: int = 0
) -> dict[Key, Detectable]:
    """Return what batches of so many blocks can detect, by metric; of a constant one just beyond its margin.

    It is drawn for either test, of pairs and of two samples, and the one that detects less is taken: pairs
    take out what blocks differ by, and suffer the outliers of both sides. Metrics of too few samples for a
    bound at the level of the confirmation, and those with some zeros, have none.
    """
    rng, confidence = random.Random(seed), 1 - CONFIRM / SUSPICIONS
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
    pairs, samples = _within(by_pairs, margins), _within(by_samples, margins)
    found = _constant(pool, margins, paired=True)
    for key in pairs.keys() | samples.keys():
        shares = {True: pairs.get(key, math.inf), False: samples.get(key, math.inf)}
        paired = shares[True] <= shares[False]
        found.setdefault(key, Detectable(shares[paired], paired))
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


def detectable_apart(
    pool: Pool, margins: Mapping[str, Margin], blocks: int, seed: int = 0
) -> dict[Key, Detectable]:
    """Return what stored runs of so many blocks can detect, by metric.

    As :func:`detectable_side_by_side`, for stretches of blocks; the centre of either half has to confirm.
    What one version differs by from stretch to stretch is part of it, and the allowance for runs made apart.
    """
    rng, confidence = random.Random(seed), _confidence(pool)
    lacking: dict[Key, list[float]] = {key: [] for key in _positive(pool)}
    for _ in range(DRAWS):
        base, candidate = stretches(blocks_of(pool), blocks, rng)
        parts = (candidate, candidate[: blocks // 2], candidate[blocks // 2 :])
        for key, found in lacking.items():
            logs = {block: math.log(value) for block, value in pool[key].items()}
            x = [logs[b] for b in base if b in logs]
            whole, *halves = ([logs[b] for b in part if b in logs] for part in parts)
            if not x or not whole or not all(halves):
                found.append(math.inf)
                continue
            bounds, centres = (
                rank_sum_interval(x, whole, confidence),
                [rank_sum_interval(x, h).value for h in halves],
            )
            found += [max(-bounds.low, *(-one for one in centres)), max(bounds.high, *centres)]
    for key, found in lacking.items():
        lacking[key] = [one + math.log1p(drift(key.metric)) for one in found]
    shares = {key: Detectable(share, paired=False) for key, share in _within(lacking, margins).items()}
    return shares | _constant(pool, margins, paired=False)


def _constant(pool: Pool, margins: Mapping[str, Margin], *, paired: bool) -> dict[Key, Detectable]:
    return {
        key: Detectable(BEYOND * margins[key.metric].share, paired)
        for key, values in pool.items()
        if len(set(values.values())) == 1
    }


def _within(lacking: Mapping[Key, Sequence[float]], margins: Mapping[str, Margin]) -> dict[Key, float]:
    return {
        key: _share(margins[key.metric], float(np.quantile(found, WITHIN)))
        for key, found in lacking.items()
        if all(map(math.isfinite, found))
    }


def _share(margin: Margin, lacking: float) -> float:
    """Return the share that lies so far, as a log-ratio, beyond the margin."""
    return min(LARGEST, math.expm1(math.log1p(margin.share) + max(0.0, lacking)))


def _positive(pool: Pool) -> list[Key]:
    return [key for key, values in pool.items() if min(values.values()) > 0]


def _confidence(pool: Pool) -> float:
    """Return what Holm's method asks of the strongest of all tests that can reject at all."""
    return 1 - ALPHA / max(1, sum(len(set(values.values())) > 1 for values in pool.values()))
