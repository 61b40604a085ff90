"""A comparison as a document: what changed first, then what is behind it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.format import NOTHING, clean, compact, quantity
from harness.report.circumstances import facts, usual
from harness.report.document import Bullets, Paragraph, Part, Role, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Change, ChangeVerdict, ComparisonRecord, Rates

ORDER: tuple[ChangeVerdict, ...] = ("regressed", "improved", "contaminated", "inconclusive", "unchanged")
"""Verdicts as they are shown, what matters most first."""

NOT_CALIBRATED = "not calibrated here"

COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Verdict", "verdict"),
    ("Arm", "code"),
    ("Workload", "code"),
    ("Metric", "code"),
    ("Base", "number"),
    ("Candidate", "number"),
    ("Change", "number"),
    ("Margin", "number"),
    ("n", "number"),
    ("Reason", "text"),
)

_MINUS = "\N{MINUS SIGN}"


def headline(record: ComparisonRecord) -> str:
    """Return the title of a comparison."""
    return clean(f"{record.base} → {record.candidate}: {record.verdict.upper()}")


def verdict_line(record: ComparisonRecord) -> str:
    """Return the verdict and its reason on one line."""
    return clean(f"{record.verdict.upper()}: {record.reason}")


def ordered(changes: Sequence[Change], *verdicts: ChangeVerdict) -> list[Change]:
    """Return the changes of these verdicts (all if none is given), most important first.

    That is by verdict as in :data:`ORDER`, then by how many times the margin they are large.
    """
    chosen = [change for change in changes if change.verdict in (verdicts or ORDER)]
    return sorted(chosen, key=lambda change: (ORDER.index(change.verdict), -_size(change)))


def counts(changes: Sequence[Change]) -> str:
    """Return how many there are of each verdict: ``1 regressed, 23 unchanged``."""
    found = ((sum(change.verdict == verdict for change in changes), verdict) for verdict in ORDER)
    return ", ".join(f"{count} {verdict}" for count, verdict in found if count) or "nothing was compared"


def name(change: Change) -> str:
    """Return which metric a change is about."""
    return clean(f"{change.arm} {change.workload} {change.metric}")


def shift(change: Change) -> str:
    """Return by how much the candidate differs: ``+12.3 %``, or a difference where a sample is zero."""
    if change.ratio is not None:
        return _signed(change.ratio - 1, "share")
    return _signed(change.candidate - change.base, change.unit)


def bounds(change: Change) -> str:
    """Return the one-sided 95 % bounds of the change: ``[+9.1, +15.6] %``; a dash if there are none."""
    if change.ci_low is None or change.ci_high is None:
        return NOTHING
    low, high = _signed(change.ci_low - 1, "share"), _signed(change.ci_high - 1, "share")
    return f"[{low.removesuffix(' %')}, {high.removesuffix(' %')}] %"


def margin(change: Change) -> str:
    """Return by how much it may become worse: ``10 %``, or a difference where a sample is zero.

    Where nothing was decided, what would have been found stands behind: ``10 % (detectable: 60 %)``.
    """
    unit = "share" if change.ratio is not None else change.unit
    open_one = change.verdict in ("inconclusive", "contaminated") and change.detectable is not None
    found = f" (detectable: {compact(change.detectable or 0.0, unit)})" if open_one else ""
    return f"{compact(change.margin, unit)}{found}"


def summary(change: Change) -> str:
    """Return a change in one sentence: what it was, what it is, and how sure that is."""
    interval = bounds(change)
    between = "" if interval == NOTHING else f" {interval}"
    return (
        f"{quantity(change.base, change.unit)} → {quantity(change.candidate, change.unit)}: "
        f"{shift(change)}{between}, margin {margin(change)}, n = {change.n}: {clean(change.reason)}"
    )


def row(change: Change) -> tuple[str, ...]:
    """Return a change as a row of :data:`COLUMNS`."""
    interval = bounds(change)
    return (
        change.verdict,
        change.arm,
        change.workload,
        change.metric,
        quantity(change.base, change.unit),
        quantity(change.candidate, change.unit),
        shift(change) if interval == NOTHING else f"{shift(change)}\n{interval}",
        margin(change),
        str(change.n),
        change.reason,
    )


def reliability(rates: Rates | None) -> str:
    """Return how often such a comparison errs on this class of machines, with exact bounds."""
    if rates is None:
        return f"{NOT_CALIBRATED}: run `fedbench aa` to know how often such a comparison errs"
    return (
        f"{rates.alarms} of {rates.comparisons} comparisons of the same code raised a false alarm (at most "
        f"{_share(rates.alarms_upper)} at 95 % confidence); {rates.detected} of {rates.injected} slow-downs "
        f"of the detectable size were found (at least {_share(rates.detected_lower)}){usual(rates)}; "
        f"batches of {rates.blocks} blocks, {clean(rates.machine)}, measured {clean(rates.measured_utc)}"
    )


def sections(record: ComparisonRecord) -> list[Section]:
    """Return the comparison, in order."""
    noticed = ordered(record.changes, *ORDER[:-1])
    same = ordered(record.changes, "unchanged")
    how = "in the same blocks" if record.paired else "from stored runs"
    return [
        Section(
            "Verdict",
            [
                Paragraph(f"{clean(record.reason)}."),
                Paragraph(f"{counts(record.changes)}. {record.base} → {record.candidate}, {how}."),
            ],
        ),
        Section("Changes", [Table(COLUMNS, list(map(row, noticed))) if noticed else Paragraph("None.")]),
        Section("How often this errs", [Paragraph(f"{reliability(record.rates)}.")]),
        Section("Not compared", [_listed(record.not_compared, "Nothing was left out.")]),
        Section("Warnings", [_listed(record.warnings, "None.")]),
        Section("Unchanged", [Table(COLUMNS, list(map(row, same))) if same else Paragraph("None.")]),
        Section(
            "How to reproduce",
            [
                Table(
                    (("What", "text"), ("Found", "text")),
                    [
                        ("Command", record.command),
                        ("Compared", record.created_utc),
                        *facts(record.environment),
                    ],
                )
            ],
        ),
    ]


def _listed(items: Sequence[str], nothing: str) -> Part:
    return Bullets(items) if items else Paragraph(nothing)


def _size(change: Change) -> float:
    """Return a change in margins."""
    if change.ratio is None:
        return abs(change.candidate - change.base) / change.margin if change.margin else math.inf
    return abs(math.log(change.ratio)) / math.log1p(change.margin) if change.margin else math.inf


def _signed(value: float, unit: str) -> str:
    text = quantity(value, unit)
    return text if value == 0 or text.startswith(_MINUS) else f"+{text}"


def _share(value: float) -> str:
    return quantity(value, "share")
