"""What one metric shows, and the verdict that follows. Pure.

Values are turned so that more is worse. Where every sample is above zero logarithms are compared, and limits
are shares; elsewhere differences are, and limits are in the metric's unit.

Theory of operation. A change must exceed the margin and the absolute floor; nothing else raises that
threshold. A noisy machine therefore never redefines what a change is: it only makes the test less likely to
find one, and how likely is told beside the verdict as the detectable change (:func:`detectable`). Three
guards keep false alarms rare instead: the A/A control of the same blocks, whose centre has to lie between the
margin and the bound; for runs made apart, which can have no control, an allowance for what sessions of one
version differ by; and a confirmation on other samples (:mod:`harness.regression.confirm`).
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
ONE_SIDED_95 = 1.645
"""Standard errors from a normal estimate to its one-sided 95 % bound."""
MULTIPLE = 5.5
"""Standard errors beyond the threshold of a change that nine of ten comparisons find.

2.3 for the level of the confirmation, 1.6 for the power of either batch, the rest for the control's own noise
and for samples that are few: drawn comparisons of made-up pools hold it.
"""


class Key(NamedTuple):
    """A metric of a cell."""

    arm: str
    workload: str
    metric: str


class Detectable(NamedTuple):
    """What of a metric can be detected on a machine, from its calibration.

    Attributes:
        share: Smallest share by which it may become worse that nine of ten comparisons find.
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
        detectable: Share that can be detected, from a calibration; None to estimate it from these samples.
        drift: Share by which runs of one version may differ because they were made apart.
        control: What the base measured, and measured again, in blocks of the same batch; None where no
            control was planned. One that lacks more than a tenth of the blocks has come to nothing.
    """

    base: Sequence[float]
    candidate: Sequence[float]
    paired: bool = True
    detectable: float | None = None
    drift: float = 0.0
    control: Sequence[tuple[float, float]] | None = None

    def at(self, known: Detectable | None) -> Sides:
        """Return the same, tested as a calibration found best; as they are for None."""
        return self if known is None else self._replace(detectable=known.share, paired=known.paired)

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


class Evidence(NamedTuple):
    """What the samples of one metric show.

    Attributes:
        key: The metric.
        sides: Its samples.
        relative: Whether logarithms were compared.
        margin: What matters, as a share, or in the unit.
        within: The margin on the scale of the estimate: a change is none if it is certainly within.
        beyond: Likewise, by a rounding error more: a change counts if it is certainly beyond.
        apart: How far the same code lay apart; None where a control was planned and came to nothing.
        estimate: Of the change, with one-sided bounds.
        difference: The same in the metric's unit.
        mean: Distance of the means, in the metric's unit, of what is counted: no median shows what is in
            a few blocks only. 0 for times, whose outliers may be the machine's.
        means: The same on the scale of the estimate.
        floor: Difference in the unit below which nothing is said.
        p_worse: One-sided p-value of a change for the worse beyond the margin.
        p_better: The same for the better.
    """

    key: Key
    sides: Sides
    relative: bool
    margin: float
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


def evidence(key: Key, sides: Sides, margin: Margin) -> Evidence:
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

    def scaled(share: float) -> float:
        return math.log1p(share) if relative else share * float(np.median(np.abs(base)))

    limit = margin.share if relative else max(margin.floor, scaled(margin.share))
    within = math.log1p(limit) if relative else limit
    beyond = within * (1 + ROUNDING)  # what lies exactly there is not beyond
    x, y = turned(base), turned(candidate)
    p_worse, p_better = (_p(one, other, beyond, sides.paired) for one, other in ((x, y), (y, x)))
    estimate = _estimate(x, y, sides.paired)
    apart: float | None = scaled(sides.drift)
    if sides.control is not None:
        apart = _apart(sides, turned(control[:, 0]), turned(control[:, 1]))
    mean, means = _means(key, base, candidate, relative)
    return Evidence(
        key=key,
        sides=sides,
        relative=relative,
        margin=limit,
        within=within,
        beyond=beyond,
        apart=apart,
        estimate=estimate,
        difference=_estimate(sign * base, sign * candidate, sides.paired) if relative else estimate,
        mean=mean,
        means=means,
        floor=margin.floor,
        p_worse=p_worse,
        p_better=p_better,
    )


def detectable(found: Evidence) -> float | None:
    """Return the change that nine of ten such comparisons find, as the margin is given.

    From a calibration where there is one. Otherwise the minimum detectable effect is a multiple of the
    standard error beyond what a change has to exceed (Bloom 1995, "Minimum detectable effects"); the standard
    error is that of the estimate's bounds, which lie 1.645 of it to either side. None where the samples are
    too few for bounds: no change, however large, would have been found.
    """
    if found.sides.detectable is not None and found.relative:
        return max(found.margin, found.sides.detectable)
    width = found.estimate.high - found.estimate.low
    if not math.isfinite(width):
        return None
    error = width / (2 * ONE_SIDED_95)
    least = found.within + (found.apart or 0.0 if found.sides.control is None else 0.0) + MULTIPLE * error
    return math.expm1(least) if found.relative else max(least, found.floor)


def verdict(found: Evidence, p_worse: float, p_better: float, alpha: float) -> tuple[ChangeVerdict, str]:
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


def _change(found: Evidence, p: float, name: ChangeVerdict, toward: float) -> tuple[ChangeVerdict, str]:
    """Return a change that passed its test, unless what the same code differs by could explain it."""
    if found.apart is None:
        return "inconclusive", f"{name}, but the base was not measured again: drift could explain it"
    if toward > found.beyond + found.apart:
        return name, f"beyond the margin, p = {p:.2g}"
    if found.sides.control is None:
        return (
            "contaminated",
            "runs of one version made apart may differ as much: measure both by `fedbench ab`",
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


def _unsure(found: Evidence, p: float) -> str:
    low, high, n = found.estimate.low, found.estimate.high, found.estimate.n
    if not math.isfinite(low):
        return f"{n} samples are too few for a bound"
    if low > found.beyond or high < -found.beyond:
        return f"beyond the margin, but not sure among so many metrics: p = {p:.2g}"
    if -found.within <= low and high <= found.within:
        return f"the interval of {n} samples lies within the margin, the mean does not: some blocks differ"
    return f"the interval of {n} samples spans the margin"


def _apart(sides: Sides, base: NDArray[np.float64], again: NDArray[np.float64]) -> float | None:
    """Return how far the centre of the control lies from none, None if it lacks too many blocks."""
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
