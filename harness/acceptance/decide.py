"""Decide a criterion from the samples of a run. Pure.

**In turn.** Quiet blocks are taken in order, and the criterion is looked at after 6, 10, 16 and 24 of them,
or whatever the suite says. Each look tests at the level that :mod:`harness.acceptance.sequence` gives it; the
levels add up to 5 %. It is a *pass* where the worse bound of the interval at this level reaches the target.
Where even the better bound misses it, a *fail* is suspected: the next 6 quiet blocks alone must miss the
target too, all of them (1/64), else the looks go on. A point estimate decides nothing.

**Doubts.** A verdict that an A/A control could overturn (:mod:`harness.acceptance.control`), or the drift of
one arm (:mod:`harness.acceptance.drift`), stays ``contaminated``; later looks may clear it.

**Errors.** For each criterion: a false pass at most 5 %, a false fail at most 5 % x 1/64, both for blocks
that are independent and symmetric about their centre. A run passes only where all of its criteria do: as an
intersection-union test (Berger 1982) its own false pass is at most 5 % whatever the number of criteria. A run
of m criteria that all lie at their targets fails by mistake at most m times as often as one.

What the samples cannot tell is ``inconclusive``; what others kept from being told is ``contaminated``;
neither is a pass. Kinds that count are decided by :mod:`harness.acceptance.exact`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from harness.acceptance.beside import asides, holds_from
from harness.acceptance.control import shifted, told
from harness.acceptance.criteria import EXACT
from harness.acceptance.drift import drift
from harness.acceptance.estimate import Undecidable, bounded, estimate, late_blocks, points, series_of
from harness.acceptance.exact import decide_exact
from harness.acceptance.judging import holds, sides
from harness.acceptance.sequence import ALPHA, CONFIRMING, CONFIRMING_LEVEL, least_blocks, looks_at
from harness.acceptance.wording import misses, record_of, spans
from harness.records.summary import is_quiet, why_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.estimate import Series
    from harness.acceptance.samples import Samples
    from harness.records.schema import Control, CriterionRecord, Verdict
    from harness.stats.paired import Estimate


Controls = Callable[[tuple[str, str, str], "Sequence[int]"], "Control | None"]
"""``controls((arm, workload, metric), blocks)``: the A/A control in these blocks alone.

A decision rests on the blocks up to its look: what is measured later, for other criteria, never unmakes it.
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """When a criterion is looked at.

    Attributes:
        looks: Blocks of each look, increasing.
        over: Whether no more blocks will come.
        why: Why not, and how there could be more, empty where the looks are used up.
    """

    looks: tuple[int, ...]
    over: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """A criterion as decided so far.

    Attributes:
        record: With its verdict.
        needed: Cells that it still needs, as ``(arm, workload)``.
        more: In how many more blocks.
    """

    record: CriterionRecord
    needed: frozenset[tuple[str, str]] = frozenset()
    more: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    verdict: Verdict
    reason: str
    estimate: Estimate | None = None
    n: int = 0
    more: int = 0


def decide(
    criterion: Criterion,
    samples: Samples,
    controls: Controls,
    *,
    mode: str,
    sizes: Sizes,
) -> Decision:
    """Return the criterion with its verdict so far, and what it still needs.

    Args:
        criterion: What must hold.
        samples: The run's observations.
        controls: Gives the A/A control of an arm, workload and metric in some blocks; None where nothing was
            controlled.
        mode: Mode of the criterion's arms.
        sizes: When it is looked at.
    """
    c = criterion
    cells = cells_needed(c, samples)
    void = samples.disturbed(cells)
    try:
        silent = _usable(c, samples, cells)
        found = _exact(c, samples, sizes) if c.kind in EXACT else _sequence(c, samples, controls, sizes)
        if silent and found.more == 0:
            found = _Found("inconclusive", silent, found.estimate, found.n, 1)
    except Undecidable as error:
        found = _Found("inconclusive", str(error), n=error.n)
    if found.verdict == "inconclusive" and (sizes.over or not found.more):
        found = _ended(c, found, sizes, void)
    beside = asides(c, samples)
    from_size = holds_from(c, beside, found.estimate)
    reason = "; ".join(filter(None, (found.reason, from_size)))
    record = record_of(c, mode, found.estimate, found.n, (found.verdict, reason))
    record = msgspec.structs.replace(record, beside=beside, void=void)
    proven = {
        (a, w) for a, w in cells if w == c.valid_if and any(o.status == "ok" for o in samples.cell(a, w))
    }
    needed = frozenset(cells) - proven if found.more and not sizes.over else frozenset()
    return Decision(record, needed, 0 if sizes.over else found.more)


def cells_needed(c: Criterion, samples: Samples) -> list[tuple[str, str]]:
    """Return every arm and workload that a criterion rests on, in order."""
    if c.kind == "equal":
        cells = [(arm, c.workload) for arm in samples.arms(c.workload)]
    elif c.kind == "frontier":
        cells = [(arm, w) for arm in (c.arm, *points(c, samples)) for w in (c.workload, c.workload2)]
    else:
        cells = [(c.arm, c.workload)]
        if c.kind in ("reduction", "ratio"):
            cells.append((c.against, c.other_workload))
    if c.valid_if:
        cells += [(arm, c.valid_if) for arm in (c.arm, c.against) if arm]
    return cells


def _usable(c: Criterion, samples: Samples, cells: Sequence[tuple[str, str]]) -> str:
    """Check that there is something to decide on; return what is missing of the cells that validate it."""
    silent = ""
    for arm, workload in cells:
        cell = samples.cell(arm, workload)
        proof = workload == c.valid_if
        if not cell:
            raise Undecidable(f"{arm} did not run {workload}")
        bad = [o for o in cell if o.status == "unsupported" or (proof and o.status == "failed")]
        if bad:
            reasons = "; ".join(bad[0].reasons)
            raise Undecidable(f"{arm} {workload} {bad[0].status} in block {bad[0].block}: {reasons}")
        if not any(o.status == "ok" for o in cell):
            if sum(is_quiet(o) for o in cell) > 1:
                raise Undecidable(f"{arm} {workload} {cell[0].status}: {'; '.join(cell[0].reasons)}")
            why = "; ".join(cell[0].reasons)
            silent = silent or f"{arm} {workload} {cell[0].status} in block {cell[0].block}: {why}"
    return silent


def _exact(c: Criterion, samples: Samples, sizes: Sizes) -> _Found:
    exact = decide_exact(c, samples, sizes.looks[0])
    n = exact.estimate.n if exact.estimate else 0
    return _Found(exact.verdict, exact.reason, exact.estimate, n, exact.more)


def _sequence(c: Criterion, samples: Samples, controls: Controls, sizes: Sizes) -> _Found:
    series = series_of(c, samples)
    _check_missing(c, samples)
    n = min(s.n for s in series)
    found = _few(c, series, n, sizes)
    for look in looks_at(sizes.looks, n, over=sizes.over):
        at, closest = _closest(c, [s.part(0, look.n) for s in series], look.level)
        if not bounded(at):
            least = least_blocks(look.level)
            reason = f"{look.n} blocks are too few for a bound at {1 - look.level:.1%}: {least} are needed"
            found = _Found("inconclusive", reason, at, look.n)
            continue
        worse, better = sides(c, at)
        if holds(c, worse) or not holds(c, better):
            passing = holds(c, worse)
            fresh = [s.part(look.n, look.n + CONFIRMING) for s in series]
            if not passing and min(s.n for s in fresh) < CONFIRMING:
                more = look.n + CONFIRMING - n
                reason = f"{misses(c, at)}; {CONFIRMING} fresh blocks must confirm it"
                found = _Found("inconclusive", reason, at, look.n, more)
                if not sizes.over:
                    return found
                continue
            if not passing and not _misses(c, fresh):
                reason = f"{misses(c, at)}, which {CONFIRMING} fresh ones did not confirm"
                found = _Found("inconclusive", reason, at, look.n)
                continue
            doubt = _doubt(c, at, closest, samples, controls, passing=passing)
            if not doubt:
                return _clear(c, at, closest, look.n, passing=passing)
            found = _Found("contaminated", doubt, at, look.n)
        else:
            note = f"closest: {closest.label}" if closest.label else ""
            found = _Found("inconclusive", "; ".join(filter(None, (spans(c, at), note))), at, look.n)
    upcoming = next((size for size in sizes.looks if size > n), n)
    return _Found(found.verdict, found.reason, found.estimate, found.n, upcoming - n)


def _few(c: Criterion, series: Sequence[Series], n: int, sizes: Sizes) -> _Found:
    """Return what can be told before the first look: the point, no more."""
    if not n:
        return _Found("inconclusive", f"no block has {c.metric} of {'both arms' if c.against else c.arm}")
    at, _ = _closest(c, [s.part(0, n) for s in series], ALPHA)
    return _Found("inconclusive", f"{n} of {sizes.looks[0]} blocks were measured", at, n)


def _clear(c: Criterion, at: Estimate, closest: Series, n: int, *, passing: bool) -> _Found:
    note = f"closest: {closest.label}" if closest.label else ""
    if passing:
        return _Found("pass", note, at, n)
    reason = f"{misses(c, at)}, and {CONFIRMING} fresh blocks confirm it"
    return _Found("fail", "; ".join(filter(None, (reason, note))), at, n)


def _closest(c: Criterion, series: Sequence[Series], level: float) -> tuple[Estimate, Series]:
    """Return the estimate at the point that is beaten least: one missed for certain comes first."""
    made = [(estimate(c, s, level), s) for s in series]
    if len(made) == 1:
        return made[0]
    return min(made, key=lambda item: (holds(c, item[0].high), item[0].low))


def _misses(c: Criterion, fresh: Sequence[Series]) -> bool:
    """Whether fresh blocks miss the target by themselves."""
    at, _ = _closest(c, fresh, CONFIRMING_LEVEL)
    return not holds(c, sides(c, at)[1])


def _doubt(
    c: Criterion,
    at: Estimate,
    series: Series,
    samples: Samples,
    controls: Controls,
    *,
    passing: bool,
) -> str:
    """Return what could overturn a verdict, empty for nothing."""
    worse, better = sides(c, at)
    bound = worse if passing else better
    keys = ((c.arm, c.workload, c.metric), (c.arm, c.workload2, c.metric2))
    for control in (controls(key, series.blocks) for key in keys):
        if control is None or not control.n:
            continue
        moved = shifted(c, bound, control, series.level, worse=passing)
        if moved is None or holds(c, moved) != passing:
            return f"{told(control)}: that could overturn the {'pass' if passing else 'fail'}"
    late = {} if passing else late_blocks(c, samples)
    if late:
        lag_ms = max(late.values()) * 1e3
        return f"the load generator lagged {lag_ms:.1f} ms at p99 in {len(late)} blocks: that could be all"
    drifted = drift(series.relative)
    if drifted and holds(c, _widened(c, at.value, bound, drifted.widened)) != passing:
        return (
            f"one arm drifted while it was measured (autocorrelation {drifted.r:.2f}, p {drifted.p:.3f}): "
            f"an interval {drifted.widened:.1f} times as wide spans the target"
        )
    return ""


def _widened(c: Criterion, value: float, bound: float, factor: float) -> float:
    """Return a bound as far from the value as a wider interval has it, by ratio where there is one."""
    if c.kind in ("reduction", "frontier"):
        return 1 - _widened_ratio(1 - value, 1 - bound, factor)
    return _widened_ratio(value, bound, factor)


def _widened_ratio(value: float, bound: float, factor: float) -> float:
    if value > 0 and bound > 0:
        return value * math.exp(factor * math.log(bound / value))
    return value + (bound - value) * factor


def _check_missing(c: Criterion, samples: Samples) -> None:
    """Refuse a metric that a cell lacks in more than a quarter of its blocks: that is no accident."""
    if c.kind == "frontier":
        return
    for arm, workload in cells_needed(c, samples)[: 1 + (c.kind != "limit")]:
        cell = samples.quiet(arm, workload)
        have = len(samples.values(arm, workload, c.metric))
        if len(cell) >= 2 and len(cell) - have > len(cell) / 4:
            raise Undecidable(f"{c.metric}: {why_missing(c.metric, cell)}", have)


def _ended(c: Criterion, found: _Found, sizes: Sizes, void: Sequence[str]) -> _Found:
    """Return what is told where nothing more will be measured."""
    short = found.n < sizes.looks[0]
    if void and short and c.kind not in EXACT:
        reason = (
            f"only {found.n} of the {sizes.looks[0]} blocks that it needs were quiet, "
            f"disturbed by {void[0].partition(' disturbed by ')[2]}: "
            "stop that, or run again when the machine is quiet"
        )
        reason = "; ".join(filter(None, (reason, sizes.why)))
        return _Found("contaminated", reason, found.estimate, found.n)
    why = sizes.why if found.more else ""
    return _Found("inconclusive", "; ".join(filter(None, (found.reason, why))), found.estimate, found.n)
