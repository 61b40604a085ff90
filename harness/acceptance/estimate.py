"""What blocks say of a criterion: series of values, and the estimate with its bounds. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.stats.paired import Estimate, ratio, reduction, signed_rank_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples

LAG_LIMIT_S = 0.010
"""A cell whose load generator was later than this at its 99th percentile measured the generator."""
LAG_SHARE = 0.1
"""Of a latency that is decided on, the lag may be so much: of the target, or of the base's median."""
LAG_FLOOR_S = 0.001
"""A lag up to this is no fault of the machine: timers of an event loop count in whole milliseconds."""


class Undecidable(Exception):
    """The samples cannot tell, and more of them would not; ``n`` is the number of blocks behind that."""

    def __init__(self, reason: str, n: int = 0) -> None:
        super().__init__(reason)
        self.n = n


@dataclass(frozen=True, slots=True)
class Series:
    """The blocks of one comparison, or of one cell, in order.

    Attributes:
        label: What is compared, where there are several.
        candidate: Value of the arm in each block.
        base: Value of the other side in the same blocks, None where there is none.
        label: What is compared, where there are several.
        blocks: Their numbers; empty where nobody asks.
    """

    candidate: tuple[float, ...]
    base: tuple[float, ...] | None = None
    label: str = ""
    blocks: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """How many blocks there are."""
        return len(self.candidate)

    @property
    def relative(self) -> list[float]:
        """The value of each block as the criterion compares it."""
        if self.base is None:
            return list(self.candidate)
        return [c / b for b, c in zip(self.base, self.candidate, strict=True)]

    @property
    def level(self) -> float | None:
        """Median of the other side."""
        return statistics.median(self.base) if self.base else None

    def part(self, start: int, stop: int) -> Series:
        """Return some of its blocks."""
        base = None if self.base is None else self.base[start:stop]
        return replace(self, candidate=self.candidate[start:stop], base=base, blocks=self.blocks[start:stop])


def series_of(c: Criterion, samples: Samples) -> list[Series]:
    """Return what a criterion is decided on: one series, or one for each point of a frontier and metric.

    Raises:
        Undecidable: A side measured zero where a ratio is asked for, or there is no point to compare with.
    """
    if c.kind == "limit":
        late = {} if _counts(c, c.metric) else late_blocks(c, samples)
        values = samples.values(c.arm, c.workload, c.metric)
        blocks = tuple(block for block in sorted(values) if block not in late)
        return [Series(tuple(values[block] for block in blocks), blocks=blocks)]
    if c.kind != "frontier":
        series = _paired(c, samples, (c.against, c.other_workload), (c.arm, c.workload), c.metric)
        if c.kind == "ratio" and min(series.candidate, default=1.0) <= 0:
            raise Undecidable(f"{c.arm} measured zero: {c.metric} is below its resolution", series.n)
        return [series]
    found = [
        replace(
            _paired(c, samples, (point, workload), (c.arm, workload), metric), label=f"{metric} of {point}"
        )
        for point in points(c, samples)
        for workload, metric in ((c.workload, c.metric), (c.workload2, c.metric2))
    ]
    if not found:
        raise Undecidable(f"no point of the sweep of {c.against} was measured")
    return found


def points(c: Criterion, samples: Samples) -> list[str]:
    """Return the arms of the sweep that a frontier is about."""
    arms = dict.fromkeys([*samples.arms(c.workload), *samples.arms(c.workload2)])
    return [arm for arm in arms if arm.startswith(f"{c.against}@")]


def estimate(c: Criterion, series: Series, level: float) -> Estimate:
    """Return the estimate of a criterion, in its unit, with bounds at a one-sided level.

    The centre of a limit is that of the logarithms where all values are above zero, else of the values; where
    zeros are among them the mean counts as well: the median of a count that is mostly zero says nothing.
    """
    confidence = 1 - level
    if series.base is not None:
        estimator = ratio if c.kind == "ratio" else reduction
        return estimator(series.base, series.candidate, confidence)
    values = series.candidate
    if min(values) > 0:
        logs = signed_rank_interval([math.log(v) for v in values], confidence)
        return logs._replace(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high))
    found = signed_rank_interval(values, confidence)
    return found._replace(high=max(found.high, statistics.fmean(values)))


def bounded(found: Estimate) -> bool:
    """Return whether there were blocks enough for bounds."""
    return math.isfinite(found.high)


def late_blocks(c: Criterion, samples: Samples) -> dict[int, float]:
    """Return the blocks whose load generator lagged too much for a criterion, with the lag in seconds."""
    cells = [(c.arm, c.workload)] + [(c.against, c.other_workload)] * bool(c.against)
    return _late(c, samples, cells, c.metric)


def _late(c: Criterion, samples: Samples, cells: Sequence[tuple[str, str]], metric: str) -> dict[int, float]:
    allowed = _allowed_lag_s(c, samples, cells[-1], metric)
    late: dict[int, float] = {}
    for cell in cells:
        for block, lag_s in samples.values(*cell, "lag_p99_s").items():
            if lag_s > allowed:
                late[block] = max(lag_s, late.get(block, 0.0))
    return late


def _allowed_lag_s(c: Criterion, samples: Samples, base: tuple[str, str], metric: str) -> float:
    if not metric.startswith(("latency_p", "intended_p")):
        return LAG_LIMIT_S
    if c.kind == "limit":
        return max(LAG_FLOOR_S, LAG_SHARE * c.target)
    values = samples.values(*base, metric).values()
    return max(LAG_FLOOR_S, LAG_SHARE * statistics.median(values)) if values else LAG_FLOOR_S


def _counts(c: Criterion, metric: str) -> bool:
    """Whether a late block counts: a latency from the intended time holds the lag, and only looks worse."""
    return c.kind == "limit" and metric.startswith("intended_")


def _paired(
    c: Criterion, samples: Samples, base: tuple[str, str], candidate: tuple[str, str], metric: str
) -> Series:
    late = {} if metric.startswith("intended_") else _late(c, samples, [candidate, base], metric)
    left, right = samples.values(*base, metric), samples.values(*candidate, metric)
    blocks = sorted((left.keys() & right.keys()) - late.keys())
    of_base: Sequence[float] = [left[block] for block in blocks]
    if blocks and min(of_base) <= 0:
        raise Undecidable(f"{base[0]} measured zero: nothing to compare with", len(blocks))
    return Series(tuple(right[block] for block in blocks), tuple(of_base), blocks=tuple(blocks))
