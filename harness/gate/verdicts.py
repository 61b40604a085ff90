"""What one metric shows, and the verdict that follows. Pure.

Values are turned so that more is worse. Where every sample is above zero logarithms are compared, and limits
are shares; elsewhere differences are, and limits are in the metric's unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records.metrics import METRICS
from harness.stats.paired import Estimate, hodges_lehmann, signed_rank_interval, signed_rank_p
from harness.stats.unpaired import rank_sum_interval, rank_sum_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.gate.margins import Margin
    from harness.records.schema import ChangeVerdict


class Key(NamedTuple):
    """A metric of a cell."""

    arm: str
    workload: str
    metric: str


class Sides(NamedTuple):
    """The samples of one metric.

    Attributes:
        base: One value a run or block, at least one.
        candidate: Likewise; of the same blocks if ``paired``.
        paired: Whether they belong together one by one.
        least: Least share that can be told here, from a calibration: what is no further is no change.
        further: How many more times that a change must exceed it, for what runs made apart may differ by.
        control: What the base measured, and measured again, in blocks of the same batch; None where no
            control was planned, empty where one was and came to nothing.
    """

    base: Sequence[float]
    candidate: Sequence[float]
    paired: bool = True
    least: float = 0.0
    further: float = 0.0
    control: Sequence[tuple[float, float]] | None = None

    @property
    def identical(self) -> bool:
        """Whether all samples are the same: a test that cannot reject is none of a family (Tarone 1990)."""
        return len({*self.base, *self.candidate}) == 1

    @property
    def least_p(self) -> float:
        """The smallest p-value that so many samples can have."""
        if self.paired:
            return 2.0 ** -len(self.base)
        return 1 / math.comb(len(self.base) + len(self.candidate), len(self.base))


class Shown(NamedTuple):
    """What the samples of one metric show.

    Attributes:
        key: The metric.
        sides: Its samples.
        relative: Whether logarithms were compared.
        margin: What matters, as a share, or in the unit.
        told: What can be told here, at least the margin.
        within: The margin on the scale of the estimate: a change is none if it is certainly within.
        beyond: Likewise what can be told: a change counts if it is certainly beyond.
        apart: How far the same code lay apart; None where a control was planned and came to nothing.
        estimate: Of the change, with one-sided bounds.
        difference: The same in the metric's unit.
        mean: Difference of the means, in the metric's unit: what happens in a few blocks only shows here.
        floor: Difference in the unit below which nothing is said.
        p_worse: One-sided p-value of a change for the worse beyond what can be told.
        p_better: The same for the better.
    """

    key: Key
    sides: Sides
    relative: bool
    margin: float
    told: float
    within: float
    beyond: float
    apart: float | None
    estimate: Estimate
    difference: Estimate
    mean: float
    floor: float
    p_worse: float
    p_better: float


def shown(key: Key, sides: Sides, margin: Margin) -> Shown:
    """Return what the samples of a metric show.

    Raises:
        ValueError: They are empty, not finite, or paired and of different numbers.
    """
    base, candidate = np.asarray(sides.base, float), np.asarray(sides.candidate, float)
    control = np.asarray(sides.control or [], float).reshape(-1, 2)
    relative = bool(min([*base, *candidate, *control.ravel()]) > 0)
    sign = 1.0 if METRICS[key.metric].direction == "lower" else -1.0

    def turned(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return sign * (np.log(values) if relative else values)

    usual = max(float(np.median(np.abs(base))), float(np.median(np.abs(candidate))))

    share, told = margin.share, max(margin.share, sides.least)
    if not relative:
        share, told = (max(margin.floor, limit * usual) for limit in (share, told))
    within, beyond = (math.log1p(limit) if relative else limit for limit in (share, told))
    x, y = turned(base), turned(candidate)
    p_worse, p_better = (_p(one, other, beyond, sides.paired) for one, other in ((x, y), (y, x)))
    estimate = _estimate(x, y, sides.paired)
    difference = _estimate(sign * base, sign * candidate, sides.paired) if relative else estimate
    return Shown(
        key,
        sides,
        relative,
        share,
        told,
        within,
        beyond,
        _apart(sides, turned(control), beyond),
        estimate,
        difference,
        sign * float(candidate.mean() - base.mean()),
        margin.floor,
        p_worse,
        p_better,
    )


def verdict(found: Shown, p_worse: float, p_better: float, alpha: float) -> tuple[ChangeVerdict, str]:
    """Return the verdict on a metric, and why.

    Args:
        found: What its samples show.
        p_worse: Its p-value for the worse, adjusted for all metrics.
        p_better: The same for the better.
        alpha: What they are held to.
    """
    estimate = found.estimate
    if found.sides.identical:
        return "unchanged", "all samples are the same"
    if _within(found.difference, found, found.floor):
        return "unchanged", "the difference is within the absolute floor"
    directions: tuple[tuple[float, ChangeVerdict, float], ...] = (
        (p_worse, "regressed", estimate.low),
        (p_better, "improved", -estimate.high),
    )
    for p, name, toward in directions:
        if p <= alpha and abs(found.difference.value) > found.floor:
            return _change(found, p, name, toward)
    if _within(estimate, found, found.within):
        return "unchanged", "both bounds lie within the margin"
    return "inconclusive", _unsure(found, min(p_worse, p_better))


def _change(found: Shown, p: float, name: ChangeVerdict, toward: float) -> tuple[ChangeVerdict, str]:
    """Return a change that passed its test, unless what the same code differs by could explain it."""
    if found.apart is None:
        return "inconclusive", f"{name}, but the base was not measured again: drift could explain it"
    if toward > found.beyond + found.apart:
        return name, f"beyond the margin, p = {p:.2g} (Holm)"
    if found.sides.control is None:
        return (
            "contaminated",
            "runs made apart may differ as much: `fedbench aa` has not told how much they do",
        )
    lay = (
        f"a factor {math.exp(found.apart):.2f}"
        if found.relative
        else f"{found.apart:.3g} {METRICS[found.key.metric].unit}".rstrip()
    )
    return "contaminated", f"the same code lay {lay} apart: that could explain it"


def _within(estimate: Estimate, found: Shown, limit: float) -> bool:
    """Whether both bounds lie within a limit; of counts that may be zero the mean, too: a few odd blocks."""
    inside = -limit <= estimate.low and estimate.high <= limit
    return inside and (found.relative or abs(found.mean) <= limit)


def _unsure(found: Shown, p: float) -> str:
    low, high, n = found.estimate.low, found.estimate.high, found.estimate.n
    if not math.isfinite(low):
        return f"{n} samples are too few for a bound"
    if low > found.beyond or high < -found.beyond:
        return f"beyond the margin, but not sure among so many metrics: p = {p:.2g} (Holm)"
    if low > found.within or high < -found.within:
        return "beyond the margin, but no further than what can be told on this machine"
    if -found.within <= low and high <= found.within:
        return f"the interval of {n} samples lies within the margin, the mean does not: some blocks differ"
    if -found.beyond <= low and high <= found.beyond:
        return "within what can be told on this machine, which is more than the margin"
    return f"the interval of {n} samples spans the margin"


def _apart(sides: Sides, control: NDArray[np.float64], beyond: float) -> float | None:
    if sides.control is None:
        return sides.further * beyond
    if not len(control):
        return None
    return abs(hodges_lehmann((control[:, 1] - control[:, 0]).tolist()))


def _estimate(x: NDArray[np.float64], y: NDArray[np.float64], paired: bool) -> Estimate:
    if paired:
        return signed_rank_interval(_differences(x, y))
    return rank_sum_interval(x.tolist(), y.tolist())


def _p(x: NDArray[np.float64], y: NDArray[np.float64], shift: float, paired: bool) -> float:
    if paired:
        return signed_rank_p(_differences(x, y), shift)
    return rank_sum_p(x.tolist(), y.tolist(), shift)


def _differences(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} base values cannot be paired with {len(y)} candidate values")
    return [float(after - before) for before, after in zip(x, y, strict=True)]
