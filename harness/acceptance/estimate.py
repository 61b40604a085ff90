"""One estimate with two bounds for each kind of criterion that noise can move. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from harness.stats.paired import Estimate, ratio, reduction, signed_rank_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Comparison, Criterion
    from harness.acceptance.samples import Samples, Values


class Undecidable(Exception):
    """The samples cannot tell, however many there were."""


class Series(NamedTuple):
    """The samples of one comparison, by block.

    Attributes:
        what: What they are of: ``push rpc_ping latency_p50_s``.
        blocks: Blocks that have all that is needed, in order.
        candidate: Values of the arm in these blocks.
        base: Values of the other arm, empty for a limit.
    """

    what: str
    blocks: list[int]
    candidate: list[float]
    base: list[float]

    def part(self, start: int, stop: int) -> Series:
        """Return the samples of some of its blocks, by position."""
        base = self.base[start:stop]
        return self._replace(blocks=self.blocks[start:stop], candidate=self.candidate[start:stop], base=base)


def compares(c: Criterion) -> bool:
    """Return whether a criterion sets one arm against another."""
    return c.kind in ("reduction", "ratio", "frontier")


def single(c: Criterion, samples: Samples, beside: Comparison | None = None) -> Series:
    """Return the samples of a criterion of one comparison, or of what stands beside it.

    A block whose load generator lagged too much is left out (:func:`lagged`).
    """
    arm, against = c.arm, c.against
    workload, other = c.workload, c.other_workload
    if beside is not None:
        arm, against = beside.arm or arm, beside.against or against
        workload = beside.workload or workload
        other = beside.against_workload or (beside.workload or other)
    return series(samples, c, (against, other), (arm, workload), c.metric)


def points(c: Criterion, samples: Samples) -> list[Series]:
    """Return the samples of every point and metric of a frontier."""
    arms = dict.fromkeys([*samples.arms(c.workload), *samples.arms(c.workload2)])
    sweep = [arm for arm in arms if arm.startswith(f"{c.against}@")]
    return [
        series(samples, c, (point, workload), (c.arm, workload), metric)
        for point in sweep
        for workload, metric in ((c.workload, c.metric), (c.workload2, c.metric2))
    ]


def series(
    samples: Samples, c: Criterion, base: tuple[str, str], candidate: tuple[str, str], metric: str
) -> Series:
    """Return the samples of one metric of two cells, or of one for a limit, in the blocks that have both."""
    mine = samples.values(*candidate, metric)
    theirs = samples.values(*base, metric) if compares(c) else {}
    blocks = sorted(mine.keys() & theirs.keys() if compares(c) else mine)
    late = lagged(samples, c, candidate, theirs)
    blocks = [block for block in blocks if block not in late]
    what = f"{' '.join(candidate)} {metric}"
    return Series(what, blocks, [mine[b] for b in blocks], [theirs[b] for b in blocks if compares(c)])


LAG_LIMIT_S = 0.010
"""Lag at the 99th percentile from which on a run warns whatever it measures."""
LAG_SHARE = 0.1
"""A load generator that was later than this share of what it is to measure measured itself."""
LAG_FLOOR_S = 0.001
"""A lag up to this voids nothing: timers of an event loop count in whole milliseconds."""


def lagged(samples: Samples, c: Criterion, cell: tuple[str, str], theirs: Values) -> dict[int, float]:
    """Return in which blocks the load generator lagged too much, and by how many seconds at p99.

    That is a tenth of the target of a limit, and a tenth of what the other arm took where two are compared,
    but at least a millisecond. Latency from the intended time holds the lag: it makes what is measured worse,
    never better, so that it is compared as it is.
    """
    if not c.metric.startswith("latency_"):
        return {}
    lags = samples.values(*cell, "lag_p99_s")
    allowed = {block: max(LAG_FLOOR_S, LAG_SHARE * theirs.get(block, c.target)) for block in lags}
    return {block: lag for block, lag in lags.items() if lag > allowed[block]}


def estimate(c: Criterion, part: Series, confidence: float) -> Estimate:
    """Return the estimate of a criterion from some of its blocks.

    ``reduction`` and ``ratio`` are paired. A ``limit`` takes the centre of the blocks' values: of their
    logarithms where all are above 0, by the signed-rank test as well.

    Raises:
        Undecidable: A value is zero where that cannot be compared with.
        ValueError: There are no samples.
    """
    if c.kind == "limit":
        return centre(part.candidate, confidence)
    if min(part.base) <= 0:
        raise Undecidable(f"{c.against} measured zero {c.metric}: there is nothing to compare with")
    if c.kind == "ratio":
        if min(part.candidate) <= 0:
            raise Undecidable(f"{part.what} is zero: it is below its resolution")
        return ratio(part.base, part.candidate, confidence)
    return reduction(part.base, part.candidate, confidence)


def centre(values: Sequence[float], confidence: float) -> Estimate:
    """Return the centre of values with two bounds: of their logarithms where all are above 0."""
    if min(values) <= 0:
        return signed_rank_interval(values, confidence)
    found = signed_rank_interval([math.log(value) for value in values], confidence)
    return found._replace(value=math.exp(found.value), low=math.exp(found.low), high=_exp(found.high))


def _exp(value: float) -> float:
    return math.exp(value) if math.isfinite(value) else value


def target(c: Criterion) -> float:
    """Return what a criterion's value is compared with."""
    return 1.0 if c.kind == "equal" else c.target


def holds(c: Criterion, value: float) -> bool:
    """Return whether a value meets a criterion."""
    if c.kind == "frontier":
        return value > c.target
    if c.kind in ("reduction", "at_least"):
        return value >= c.target
    return value <= target(c)


def bounds(c: Criterion, found: Estimate) -> tuple[float, float]:
    """Return the worse and the better bound of an estimate."""
    if c.kind in ("ratio", "limit", "equal", "at_most"):
        return found.high, found.low
    return found.low, found.high
