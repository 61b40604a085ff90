"""Decide the criteria of a run: each gets a ruling, and a record of it. Pure.

What is exact is decided by :mod:`harness.acceptance.exact`, what noise can move by
:mod:`harness.acceptance.sequential`. A cell that others disturbed is void, for pass and fail alike: it is run
again, and a criterion that finds no quiet blocks is ``contaminated``. What cannot be decided by more blocks
(a cell that failed, a metric that is missing) is ``inconclusive``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.acceptance.criteria import EXACT
from harness.acceptance.estimate import Series, Undecidable, points, single, target
from harness.acceptance.exact import rule_exact
from harness.acceptance.levels import ALPHA
from harness.acceptance.ruling import Ruling
from harness.acceptance.sequential import Rules, rule_sequential, unit
from harness.acceptance.shown_beside import besides, holds_from
from harness.records.attempts import is_void
from harness.records.schema import Beside, CriterionRecord
from harness.records.summary import why_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples
    from harness.records.schema import Observation, Verdict

TRIED = 3
"""Quiet blocks without a value after which a metric is missing for good."""
NAMED = 3
"""Void cells that a record names."""


def rule(c: Criterion, samples: Samples, rules: Rules) -> Ruling:
    """Return what is known of a criterion."""
    try:
        if waiting := _checked(c, samples):
            return waiting
        if c.kind in EXACT:
            return rule_exact(c, samples)
        return rule_sequential(c, _series(c, samples), samples, rules)
    except Undecidable as error:
        return Ruling("inconclusive", str(error))


def decide(c: Criterion, samples: Samples, rules: Rules, *, mode: str) -> CriterionRecord:
    """Return the criterion with its verdict; one that waits for blocks that did not come is undecided.

    Args:
        c: What must hold.
        samples: The run's observations.
        rules: How it is decided.
        mode: Mode of the criterion's arms.
    """
    ruling = rule(c, samples, rules)
    void = void_cells(c, samples)
    verdict, reason = ruling.verdict, ruling.reason
    if verdict is None:
        verdict, reason = _unfinished(ruling, void)
    beside = besides(c, samples, confidence=1 - ALPHA)
    return _record(c, mode, ruling, (verdict, reason), beside=beside, void=void)


def void_cells(c: Criterion, samples: Samples) -> list[str]:
    """Return which cells of a criterion were void, how often, and who disturbed them, a line each."""
    if c.kind in EXACT:
        return []
    lines = []
    for arm, workload in cells(c, samples):
        void = samples.void(arm, workload)
        if void:
            why = void[-1].disturbance.void[0] if void[-1].disturbance else ""
            lines.append(f"{arm} {workload}: void in {len(void)} attempts, last because {why}")
    return lines


def cells(c: Criterion, samples: Samples) -> list[tuple[str, str]]:
    """Return every arm and workload that a criterion rests on."""
    if c.kind == "equal":
        return [(arm, c.workload) for arm in samples.arms(c.workload)]
    if c.kind == "frontier":
        arms = dict.fromkeys([*samples.arms(c.workload), *samples.arms(c.workload2)])
        sweep = [arm for arm in arms if arm.startswith(f"{c.against}@")]
        return [(arm, w) for arm in (c.arm, *sweep) for w in (c.workload, c.workload2)]
    if c.kind in ("reduction", "ratio"):
        return [(c.arm, c.workload), (c.against, c.other_workload)]
    return [(c.arm, c.workload)]


def _unfinished(ruling: Ruling, void: Sequence[str]) -> tuple[Verdict, str]:
    if void:
        remedy = "stop what disturbs it, or run it again when the machine is quiet"
        return "contaminated", f"{ruling.reason}; {void[0]}: {remedy}"
    return "inconclusive", f"{ruling.reason}; the run ended before: go on with `fedbench run --resume`"


def _checked(c: Criterion, samples: Samples) -> Ruling | None:
    """Return what a criterion waits for before its samples are looked at, None for nothing.

    Raises:
        Undecidable: A cell that it rests on did not end well, and nobody disturbed it.
    """
    for arm, workload in cells(c, samples):
        if _ended(arm, workload, samples) is None:
            return Ruling(None, f"{arm} {workload} has not been measured", needs=1)
    for arm in filter(None, (c.arm, c.against)) if c.valid_if else ():
        good = _ended(arm, c.valid_if, samples)
        if not good:
            return Ruling(None, f"{arm} {c.valid_if} has to end well first: silence must not win", needs=1)
    return None


def _ended(arm: str, workload: str, samples: Samples) -> bool | None:
    """Return whether a cell ended well in any block, None where it was not measured.

    Raises:
        Undecidable: It ended badly in a block in which nobody disturbed it.
    """
    found = samples.cell(arm, workload)
    if not found:
        return None
    for o in found:
        if o.status != "ok" and not is_void(o):
            raise Undecidable(f"{arm} {workload} {o.status} in block {o.block}: {'; '.join(o.reasons)}")
    return any(o.status == "ok" for o in found)


def _series(c: Criterion, samples: Samples) -> list[Series]:
    """Return the samples of a criterion.

    Raises:
        Undecidable: They miss what is asked for, however often the cells were run.
    """
    found = points(c, samples) if c.kind == "frontier" else [single(c, samples)]
    if not found:
        raise Undecidable(f"no point of the sweep of {c.against} was measured")
    for arm, workload in cells(c, samples):
        _present(c, arm, workload, samples)
    return found


def _present(c: Criterion, arm: str, workload: str, samples: Samples) -> None:
    metric = c.metric2 if c.kind == "frontier" and workload == c.workload2 else c.metric
    quiet: list[Observation] = samples.quiet(arm, workload)
    if len(quiet) >= TRIED and not samples.values(arm, workload, metric):
        raise Undecidable(f"{arm} {workload} {metric}: {why_missing(metric, quiet)}")


def _record(
    c: Criterion,
    mode: str,
    ruling: Ruling,
    outcome: tuple[Verdict, str],
    *,
    beside: list[Beside],
    void: list[str],
) -> CriterionRecord:
    found = ruling.estimate
    bounded = found is not None and math.isfinite(found.high)
    reason = "; ".join(filter(None, (outcome[1], holds_from(c, found, beside))))
    return CriterionRecord(
        id=c.id,
        title=c.title,
        kind=c.kind,
        mode=mode,
        workload=c.workload,
        metric=c.metric,
        arm=c.arm,
        against=c.against,
        against_workload=c.other_workload if c.against else "",
        unit=unit(c),
        target=target(c),
        value=None if found is None else found.value,
        ci_low=found.low if found is not None and bounded else None,
        ci_high=found.high if found is not None and bounded else None,
        n=0 if found is None else found.n,
        verdict=outcome[0],
        reason=reason,
        promise=c.promise,
        note=c.note,
        beside=beside,
        void=void[:NAMED],
    )
