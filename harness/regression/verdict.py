"""What one metric shows, and the verdict that follows. Pure.

Values are turned so that more is worse. Where every sample is above zero logarithms are compared, and limits
are shares; elsewhere differences are, and limits are in the metric's unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records.metrics import METRICS
from harness.regression.margins import counted
from harness.stats.paired import Estimate, signed_rank_interval, signed_rank_p
from harness.stats.unpaired import rank_sum_interval, rank_sum_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records.schema import ChangeVerdict
    from harness.regression.margins import Margin


ROUNDING = 1e-9
"""Share by which a change of exactly a limit may seem to exceed it."""
CONTROLLED = 0.9
"""Share of the blocks that a control must have, to be one."""


class Key(NamedTuple):
    """A metric of a cell."""

    arm: str
    workload: str
    metric: str


class Told(NamedTuple):
    """What of a metric can be told on a machine.

    Attributes:
        share: A change has to exceed it.
        paired: Whether it is tested in pairs; as two samples where that tells less noise from a change.
    """

    share: float
    paired: bool


class Sides(NamedTuple):
    """The samples of one metric.

    Attributes:
        base: One value a run or block, at least one.
        candidate: Likewise; of the same blocks if ``paired``.
        paired: Whether they are tested one by one. Two samples of the same blocks may be tested as such:
            their order was drawn within each block, so what blocks differ by only makes that test cautious.
        least: Least share that can be told here, from a calibration: what is no further is no change.
        further: How many more times that a change must exceed it, for what runs made apart may differ by.
        control: What the base measured, and measured again, in blocks of the same batch; None where no
            control was planned. One that lacks more than a tenth of the blocks has come to nothing.
    """

    base: Sequence[float]
    candidate: Sequence[float]
    paired: bool = True
    least: float = 0.0
    further: float = 0.0
    control: Sequence[tuple[float, float]] | None = None

    def at(self, told: Told | None) -> Sides:
        """Return the same, tested by what can be told; as they are for None."""
        return self if told is None else self._replace(least=told.share, paired=told.paired)

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
        mean: Distance of the means, in the metric's unit, of what is counted: no median shows what is in
            a few blocks only. 0 for times, whose outliers may be the machine's.
        means: The same on the scale of the estimate.
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
    means: float
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

    usual = float(np.median(np.abs(base)))
    share, told = margin.share, max(margin.share, sides.least)
    if not relative:
        share, told = (max(margin.floor, limit * usual) for limit in (share, told))
    within, beyond = (math.log1p(limit) if relative else limit for limit in (share, told))
    beyond *= 1 + ROUNDING  # what lies exactly there is not beyond
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
        _apart(sides, turned(control[:, 0]), turned(control[:, 1]), beyond),
        estimate,
        difference,
        *_means(key, base, candidate, relative),
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
    if _within(found.difference, found.mean, found.floor):
        return "unchanged", "the difference is within the absolute floor"
    directions: tuple[tuple[float, ChangeVerdict, float], ...] = (
        (p_worse, "regressed", estimate.low),
        (p_better, "improved", -estimate.high),
    )
    for p, name, toward in directions:
        if p <= alpha and abs(found.difference.value) > found.floor:
            return _change(found, p, name, toward)
    if _within(estimate, found.means, found.within):
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


def _within(estimate: Estimate, mean: float, limit: float) -> bool:
    """Whether both bounds lie within a limit, and the means no further apart."""
    return -limit <= estimate.low and estimate.high <= limit and mean <= limit


def _means(
    key: Key, base: NDArray[np.float64], candidate: NDArray[np.float64], relative: bool
) -> tuple[float, float]:
    if not counted(key.metric):
        return 0.0, 0.0
    before, after = float(base.mean()), float(candidate.mean())
    apart = abs(after - before)
    return apart, abs(math.log(after / before)) if relative else apart


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


def _apart(
    sides: Sides, base: NDArray[np.float64], again: NDArray[np.float64], beyond: float
) -> float | None:
    if sides.control is None:
        return sides.further * beyond
    if len(base) < CONTROLLED * len(sides.base):
        return None
    return abs(_estimate(base, again, sides.paired).value)


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
