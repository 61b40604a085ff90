"""How often the comparison errs: the same code on both sides, and slow-downs of known size. Pure.

Base runs of one version are the pool, block by block. A comparison is drawn from it as commands make them:
versions side by side (:class:`SideBySide`) as neighbours in time, base, candidate and base again; stored runs
(:class:`Apart`) as stretches of blocks; either with other blocks for its confirmation. Nothing has changed
between the sides, so whatever is confirmed is a false alarm; a candidate with one metric made worse shows
what is detected. Comparisons share base runs, so they are fewer independent trials than their number, and the
exact bounds, which take them as independent, are narrower than they should be.
"""

from __future__ import annotations

import random
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from harness.records.metrics import METRICS
from harness.regression.changes import key_of, screened, suspected
from harness.regression.confirm import confirmed, halved
from harness.regression.drawing import blocks_of, stretches, trios
from harness.regression.margins import drift
from harness.regression.verdict import Detectable, Key, Sides
from harness.stats.rates import rate_lower, rate_upper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import Change
    from harness.regression.drawing import Pool, Trio
    from harness.regression.margins import Margin

Factors = dict[Key, float]


class Procedure(Protocol):
    """How samples for one comparison are drawn from a pool, and compared."""

    @property
    def detectable(self) -> Mapping[Key, Detectable]:
        """What can be detected, by metric."""
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
        blocks: Blocks of each batch.
        detectable: What can be detected, by metric.
    """

    margins: Mapping[str, Margin]
    blocks: int
    detectable: Mapping[Key, Detectable] = MappingProxyType({})

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two batches of trios of neighbours."""
        found = trios(blocks_of(pool), rng)
        if len(found) < 2 * self.blocks:
            raise ValueError(f"{len(found)} trios of base runs are too few for two batches of {self.blocks}")
        drawn = rng.sample(found, 2 * self.blocks)
        first, second = (
            _side_by_side(pool, batch, factors, self.detectable)
            for batch in (drawn[: self.blocks], drawn[self.blocks :])
        )
        return confirmed(screened(first, self.margins), second, self.margins)


class Apart(NamedTuple):
    """Runs that were stored at different times.

    Attributes:
        margins: What matters.
        blocks: Blocks of each run.
        detectable: What can be detected, by metric.
    """

    margins: Mapping[str, Margin]
    blocks: int
    detectable: Mapping[Key, Detectable] = MappingProxyType({})

    def changes(self, pool: Pool, factors: Factors, rng: random.Random) -> list[Change]:
        """Return the confirmed changes of two stretches of blocks that do not overlap."""
        base, candidate = stretches(blocks_of(pool), self.blocks, rng)
        sides, blocks = {}, {}
        for key, values in pool.items():
            before = [values[b] for b in base if b in values]
            after = {b: values[b] * factors.get(key, 1.0) for b in candidate if b in values}
            if before and after:
                made = Sides(before, [*after.values()], paired=False, drift=drift(key.metric))
                sides[key] = made.at(self.detectable.get(key))._replace(paired=False)
                blocks[key] = after
        return halved(sides, blocks, candidate, self.margins)


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


Size = Literal["detectable", "margins", "doubled"]
"""How much worse a metric is made: by what is detectable of it, by two margins, or to twice as much."""


def detections(
    pool: Pool,
    margins: Mapping[str, Margin],
    procedure: Procedure,
    comparisons: int,
    seed: int,
    *,
    size: Size = "detectable",
) -> Tally:
    """Compare a pool with itself, one metric made worse; each metric has its turn.

    A hit is a comparison that confirms that metric as regressed.

    Args:
        pool: The base runs.
        margins: What matters.
        procedure: How they are compared.
        comparisons: How many.
        seed: Of the draws.
        size: How much worse it is made.

    Raises:
        ValueError: The pool is too small, or holds nothing that can be made worse.
    """
    rng, others, hits = random.Random(seed), dict[Key, int](), 0
    keys = injectable(pool, margins)
    if not keys:
        raise ValueError("no metric of the base runs is large enough to be made worse by twice its margin")
    for number in range(comparisons):
        target = keys[number % len(keys)]
        found = suspected(procedure.changes(pool, {target: _factor(target, margins, procedure, size)}, rng))
        hits += any(key_of(change) == target and change.verdict == "regressed" for change in found)
        for change in found:
            if key_of(change) != target:
                others[key_of(change)] = others.get(key_of(change), 0) + 1
    return Tally(comparisons, hits, others)


class Agreement(NamedTuple):
    """Whether two comparisons of the same two versions say the same.

    Attributes:
        pairs: Pairs of comparisons.
        agreed: Those whose confirmed changes are the same.
        kappa: Cohen's kappa of their answers to "did anything regress?", ``(o - e) / (1 - e)`` with ``o`` the
            share that agrees and ``e`` what agreed by chance (Cohen 1960); None where all answers are one.
    """

    pairs: int
    agreed: int
    kappa: float | None


def agreement(
    pool: Pool, margins: Mapping[str, Margin], procedure: Procedure, pairs: int, seed: int
) -> Agreement:
    """Compare the same two versions twice, so many times; in half of them one metric is worse by two margins.

    Raises:
        ValueError: The pool is too small.
    """
    rng, agreed = random.Random(seed), 0
    answers: list[tuple[bool, bool]] = []
    keys = injectable(pool, margins)
    for number in range(pairs):
        factors: Factors = {}
        if number % 2 and keys:
            target = keys[number // 2 % len(keys)]
            factors = {target: _factor(target, margins, procedure, "margins")}
        one, other = (
            {key_of(c): c.verdict for c in suspected(procedure.changes(pool, factors, rng))} for _ in range(2)
        )
        agreed += one == other
        answers.append(("regressed" in one.values(), "regressed" in other.values()))
    return Agreement(pairs, agreed, _kappa(answers))


def _kappa(answers: Sequence[tuple[bool, bool]]) -> float | None:
    if not answers:
        return None
    observed = sum(one == other for one, other in answers) / len(answers)
    first, second = (sum(answer) / len(answers) for answer in zip(*answers, strict=True))
    chance = first * second + (1 - first) * (1 - second)
    return None if chance == 1 else (observed - chance) / (1 - chance)


def _factor(target: Key, margins: Mapping[str, Margin], procedure: Procedure, size: Size) -> float:
    """Return what makes a metric worse."""
    share = 2 * margins[target.metric].share
    known = procedure.detectable.get(target)
    if size == "doubled":
        share = 1.0
    elif size == "detectable" and known is not None:
        share = known.share
    return 1 + share if METRICS[target.metric].direction == "lower" else 1 / (1 + share)


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


def _side_by_side(
    pool: Pool, batch: Sequence[Trio], factors: Factors, known: Mapping[Key, Detectable]
) -> dict[Key, Sides]:
    sides = {}
    for key, values in pool.items():
        whole = [trio for trio in batch if values.keys() >= set(trio)]
        if whole:
            factor = factors.get(key, 1.0)
            base, candidate = [values[t.base] for t in whole], [values[t.candidate] * factor for t in whole]
            control = [(values[t.base], values[t.again]) for t in whole]
            sides[key] = Sides(base, candidate, control=control).at(known.get(key))
    return sides
