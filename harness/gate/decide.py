"""Decide a criterion from the samples of a run. Pure.

Every verdict is decided on the bound of the interval that is against the claim; a point estimate decides
nothing. A verdict that a pass needs but the samples cannot give is ``inconclusive``; one that the A/A control
could overturn is ``contaminated``; neither is a pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.metrics import METRICS
from harness.records.schema import Control, CriterionRecord, Verdict
from harness.stats.paired import Estimate, ratio, reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.gate.criteria import Criterion
    from harness.gate.samples import Samples

LAG_LIMIT_S = 0.010
"""A cell whose load generator was later than this at its 99th percentile measured the generator."""


def decide(
    criterion: Criterion,
    samples: Samples,
    controls: Mapping[tuple[str, str], Control],
    *,
    mode: str,
    confidence: float = 0.95,
) -> CriterionRecord:
    """Return the criterion with its verdict.

    Args:
        criterion: What must hold.
        samples: The run's observations.
        controls: A/A controls by workload and metric; a missing one means that nothing was controlled.
        mode: Mode of the run.
        confidence: One-sided confidence of each bound.
    """
    decider = _Decider(criterion, samples, controls, mode, confidence)
    problem = decider.obstacle()
    if problem:
        return decider.record("inconclusive", None, 0, problem)
    table: dict[str, Callable[[], CriterionRecord]] = {
        "reduction": decider.reduction,
        "ratio": decider.ratio,
        "limit": decider.limit,
        "at_least": decider.at_least,
        "equal": decider.equal,
        "frontier": decider.frontier,
    }
    return table[criterion.kind]()


class _Decider:
    def __init__(
        self,
        criterion: Criterion,
        samples: Samples,
        controls: Mapping[tuple[str, str], Control],
        mode: str,
        confidence: float,
    ) -> None:
        self._c = criterion
        self._samples = samples
        self._controls = controls
        self._mode = mode
        self._confidence = confidence

    def obstacle(self) -> str:
        """Return why nothing can be decided, empty if something can."""
        c = self._c
        sides = [(c.arm, c.workload)]
        if c.kind in ("reduction", "ratio"):
            sides.append((c.against, c.other_workload))
        if c.kind == "equal":
            sides = [(arm, c.workload) for arm in self._samples.arms(c.workload)]
        for arm, workload in sides:
            cell = self._samples.cell(arm, workload)
            if not cell:
                return f"{arm} did not run {workload}"
            for observation in cell:
                if observation.status != "ok":
                    why = "; ".join(observation.reasons)
                    return f"{arm} {workload} {observation.status} in block {observation.block}: {why}"
            lags = self._samples.values(arm, workload, "lag_p99_s")
            if lags and max(lags.values()) > LAG_LIMIT_S:
                return (
                    f"the load generator of {arm} {workload} lagged {max(lags.values()) * 1e3:.1f} ms at p99"
                )
        return self._silence() if c.valid_if else ""

    def _silence(self) -> str:
        for arm in (self._c.arm, self._c.against):
            cell = self._samples.cell(arm, self._c.valid_if)
            if not cell:
                return f"{arm} did not run {self._c.valid_if}: whether it reports faults is unknown"
            for observation in cell:
                if observation.status != "ok":
                    return f"{arm} {self._c.valid_if}: {'; '.join(observation.reasons) or observation.status}"
        return ""

    def reduction(self) -> CriterionRecord:
        c = self._c
        base, candidate = self._samples.pairs((c.against, c.other_workload), (c.arm, c.workload), c.metric)
        if not base:
            return self.record("inconclusive", None, 0, f"no block has {c.metric} of both arms")
        if min(base) <= 0:
            return self.record(
                "inconclusive", None, len(base), f"{c.against} measured zero: nothing to reduce"
            )
        estimate = reduction(base, candidate, self._confidence)
        spread = self._spread()
        worst = 1 - (1 - estimate.low) * math.exp(spread or 0.0)
        return self._compare(
            estimate, passes=estimate.low >= c.target, survives=worst >= c.target, above=True
        )

    def ratio(self) -> CriterionRecord:
        c = self._c
        base, candidate = self._samples.pairs((c.against, c.other_workload), (c.arm, c.workload), c.metric)
        if not base or min(*base, *candidate) <= 0:
            return self.record(
                "inconclusive", None, len(base), f"no block has {c.metric} above zero in both arms"
            )
        estimate = ratio(base, candidate, self._confidence)
        worst = estimate.high * math.exp(self._spread() or 0.0)
        return self._compare(
            estimate, passes=estimate.high <= c.target, survives=worst <= c.target, above=False
        )

    def limit(self) -> CriterionRecord:
        values, missing = self._values()
        if missing:
            return self.record("inconclusive", None, len(values), missing)
        estimate = _extremes(values)
        worst = estimate.high * math.exp(self._spread() or 0.0)
        return self._compare(
            estimate, passes=estimate.high <= self._c.target, survives=worst <= self._c.target, above=False
        )

    def at_least(self) -> CriterionRecord:
        values, missing = self._values()
        if missing:
            return self.record("inconclusive", None, len(values), missing)
        estimate = _extremes(values)
        passes = estimate.low >= self._c.target
        return self._compare(estimate, passes=passes, survives=True, above=True)

    def equal(self) -> CriterionRecord:
        c = self._c
        arms = self._samples.arms(c.workload)
        texts = [o.texts.get(c.metric) for arm in arms for o in self._samples.cell(arm, c.workload)]
        if None in texts or len(arms) < 2:
            return self.record("inconclusive", None, len(texts), f"fewer than two arms report {c.metric}")
        distinct = len(set(texts))
        estimate = Estimate(distinct, distinct, distinct, len(texts), 1.0)
        verdict: Verdict = "pass" if distinct == 1 else "fail"
        return self.record(
            verdict, estimate, len(texts), f"{distinct} different in {len(texts)} observations"
        )

    def frontier(self) -> CriterionRecord:
        c = self._c
        points = [arm for arm in self._samples.arms(c.workload2) if arm.startswith(f"{c.against}@")]
        worst: Estimate | None = None
        where = ""
        for arm in points:
            for workload, metric in ((c.workload, c.metric), (c.workload2, c.metric2)):
                base, candidate = self._samples.pairs((arm, workload), (c.arm, workload), metric)
                if not base or min(base) <= 0:
                    return self.record(
                        "inconclusive", None, len(base), f"{arm} has no {metric} under {workload}"
                    )
                estimate = reduction(base, candidate, self._confidence)
                if worst is None or estimate.low < worst.low:
                    worst, where = estimate, f"closest: {metric} of {arm}"
        if worst is None:
            return self.record("inconclusive", None, 0, f"no point of the sweep of {c.against} was measured")
        return self._compare(worst, passes=worst.low > c.target, survives=True, above=True, note=where)

    def record(self, verdict: Verdict, estimate: Estimate | None, n: int, reason: str) -> CriterionRecord:
        """Return the criterion decided."""
        c = self._c
        unit = "" if c.kind in ("reduction", "ratio", "frontier", "equal") else METRICS[c.metric].unit
        unit = {
            "reduction": "share saved",
            "frontier": "share saved",
            "ratio": "times",
            "equal": "distinct",
        }.get(c.kind, unit)
        return CriterionRecord(
            id=c.id,
            title=c.title,
            kind=c.kind,
            mode=self._mode,
            workload=c.workload,
            metric=c.metric,
            arm=c.arm,
            against=c.against,
            unit=unit,
            target=1.0 if c.kind == "equal" else c.target,
            value=None if estimate is None else estimate.value,
            ci_low=None if estimate is None or math.isinf(estimate.low) else estimate.low,
            ci_high=None if estimate is None or math.isinf(estimate.high) else estimate.high,
            n=n,
            verdict=verdict,
            reason=reason,
        )

    def _compare(
        self, estimate: Estimate, *, passes: bool, survives: bool, above: bool, note: str = ""
    ) -> CriterionRecord:
        if passes and survives:
            return self.record("pass", estimate, estimate.n, note)
        if passes:
            spread = self._spread() or 0.0
            return self.record(
                "contaminated",
                estimate,
                estimate.n,
                f"two runs of the same arm lay a factor {math.exp(spread):.2f} apart: that could overturn it",
            )
        against = estimate.high < self._c.target if above else estimate.low > self._c.target
        if against:
            return self.record("fail", estimate, estimate.n, note or "the whole interval misses the target")
        return self.record(
            "inconclusive",
            estimate,
            estimate.n,
            note or f"the interval of {estimate.n} blocks spans the target",
        )

    def _spread(self) -> float | None:
        known = self._controls.get((self._c.workload, self._c.metric))
        return None if known is None else known.spread

    def _values(self) -> tuple[list[float], str]:
        c = self._c
        values = list(self._samples.values(c.arm, c.workload, c.metric).values())
        expected = len(self._samples.cell(c.arm, c.workload))
        if len(values) < expected:
            return (
                values,
                f"{c.metric} could not be measured in {expected - len(values)} of {expected} blocks",
            )
        return values, ""


def _extremes(values: Sequence[float]) -> Estimate:
    """Return the median with the smallest and the largest value in place of an interval."""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return Estimate(middle, ordered[0], ordered[-1], len(ordered), 1.0)
