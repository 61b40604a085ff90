"""The criteria as rows: what failed first, with its numbers, its reason and what stands beside it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.format import NOTHING, compact, interval, quantity
from harness.report.document import Paragraph, Part, Role, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Beside, CriterionRecord, RunRecord, Verdict

ORDER: tuple[Verdict, ...] = ("fail", "contaminated", "inconclusive", "pass")
"""Verdicts as they are shown, what matters most first."""

CRITERIA_LEGEND = (
    "Where two arms are compared, the value is an estimate over the blocks. The interval below a value holds "
    "its bounds, and the bounds decide, not the value. n counts blocks. Smaller lines show the same against "
    "other baselines or at other sizes, for comparison; they decide nothing."
)

_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Criterion", "code"),
    ("Verdict", "verdict"),
    ("Value", "number"),
    ("Target", "number"),
    ("n", "number"),
    ("Reason", "text"),
)

_COMPARISONS = {
    "reduction": "≥",
    "at_least": "≥",
    "frontier": ">",
    "limit": "≤",
    "at_most": "≤",
    "ratio": "≤",
}


def ordered(criteria: Sequence[CriterionRecord]) -> list[CriterionRecord]:
    """Return the criteria by verdict as in :data:`ORDER`, else in the order of the suite."""
    return sorted(criteria, key=lambda c: ORDER.index(c.verdict))


def target(c: CriterionRecord) -> str:
    """Return what a criterion asks for, such as ``≥ 80 %``."""
    if c.kind == "equal":
        return "all the same"
    return f"{_COMPARISONS.get(c.kind, '')} {compact(c.target, c.unit)}".strip()


def measured(c: CriterionRecord) -> str:
    """Return the value, such as ``99.18 %``; for answers that must be equal, whether they are."""
    if c.kind == "equal" and c.value is not None:
        return "all the same" if c.value == 1 else f"{c.value:g} different"
    return quantity(c.value, c.unit)


def bounds(c: CriterionRecord | Beside, unit: str) -> str:
    """Return the interval that decides; empty where there is none, and where all is zero."""
    found = NOTHING if unit == "distinct" else interval(c.ci_low, c.ci_high, unit)
    return "" if found in (NOTHING, "[0, 0]") else found


def beside(c: CriterionRecord) -> list[str]:
    """Return a line for each comparison that stands beside the criterion."""
    return [_beside(other, c.unit) for other in c.beside]


def _beside(other: Beside, unit: str) -> str:
    value = " ".join(filter(None, (quantity(other.value, unit), bounds(other, unit))))
    return f"{other.label}: {value}{f' ({other.reason})' * bool(other.reason)}"


def criteria_parts(run: RunRecord) -> list[Part]:
    """Return the table of the criteria and how to read it."""
    if not run.criteria:
        text = "The suite has no criteria, or none of them could be decided with the cells chosen."
        return [Paragraph(text)]
    return [
        Table(_COLUMNS, [_row(c) for c in ordered(run.criteria)], stacked=True),
        Paragraph(CRITERIA_LEGEND),
    ]


def _row(c: CriterionRecord) -> tuple[str, ...]:
    return (
        _lines(c.id, c.title, c.note),
        c.verdict,
        _lines(measured(c), bounds(c, c.unit), *beside(c)),
        target(c),
        str(c.n),
        _lines(c.reason, *c.void),
    )


def _lines(*lines: str) -> str:
    """Return the lines that say anything; each stays one, whatever it holds."""
    return "\n".join(" ".join(line.split()) for line in lines if line)
