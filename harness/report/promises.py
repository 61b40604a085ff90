"""What the push architecture promises, by mode: the sentence and the table that a report opens with. Pure.

A criterion says which promise it decides. Where several decide one promise in one mode, the report shows the
one that fares worst: first by verdict, then by the bound that decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.ids import MODES
from harness.records.format import NOTHING, quantity
from harness.report.criteria import ORDER, bounds, measured
from harness.report.document import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import CriterionRecord, RunRecord, Verdict
    from harness.report.document import Role

LABELS: Mapping[str, str] = {
    "cpu-idle": "CPU idle",
    "cpu-round": "CPU per round",
    "latency-rpc": "RPC latency",
    "latency-push": "push latency",
    "memory": "memory",
    "logs": "log records",
}
"""The promises in the order in which they are shown, in words."""

SIGNS: Mapping[Verdict, str] = {"pass": "✓", "fail": "✗", "inconclusive": "?", "contaminated": "~"}
"""A sign for each verdict, so that no colour is needed to tell them apart."""

SAVED = "share saved"
"""Unit of a promise that is decided as a reduction."""


def promised(run: RunRecord) -> dict[tuple[str, str], CriterionRecord]:
    """Return the criterion that stands for each promise and mode; empty for a run without promises."""
    found: dict[tuple[str, str], CriterionRecord] = {}
    for c in sorted(run.criteria, key=_rank):
        if c.promise in LABELS:
            found.setdefault((c.promise, c.mode), c)
    return found


def modes_of(found: Mapping[tuple[str, str], CriterionRecord]) -> list[str]:
    """Return the modes with promises, in the usual order."""
    modes = dict.fromkeys(mode for _, mode in found)
    return [*(mode for mode in MODES if mode in modes), *(mode for mode in modes if mode not in MODES)]


def less(value: float | None, unit: str = SAVED) -> str:
    """Return a saved share for people: ``99.9 % less``, ``12.0 % more``; other units as they are."""
    if unit != SAVED or value is None:
        return quantity(value, unit)
    if value == 0:
        return "no less"
    return f"{quantity(abs(value), unit)} {'less' if value > 0 else 'more'}"


def promise_cell(c: CriterionRecord | None) -> list[str]:
    """Return what a mode achieves of a promise: the verdict's sign and the value, the interval, what is open.

    The interval of a share has no unit of its own, as it stands right below the value.
    """
    if c is None:
        return [NOTHING]
    value = less(c.value, c.unit) if c.unit == SAVED else measured(c)
    word = c.verdict if c.verdict != "pass" else ""
    return [
        line for line in (f"{SIGNS[c.verdict]} {value}", bounds(c, c.unit).removesuffix(" %"), word) if line
    ]


def verdict_of(cell: str) -> str:
    """Return the verdict whose sign a cell begins with; empty where it begins with none."""
    return next((verdict for verdict, sign in SIGNS.items() if cell.startswith(f"{sign} ")), "")


def promise_table(run: RunRecord) -> Table | None:
    """Return a row for each promise and a column for each mode; None for a run without promises."""
    found = promised(run)
    if not found:
        return None
    modes = modes_of(found)
    columns: list[tuple[str, Role]] = [("Promise", "text"), *((mode, "promise") for mode in modes)]
    rows = [
        (label, *("\n".join(promise_cell(found.get((promise, mode)))) for mode in modes))
        for promise, label in LABELS.items()
        if any((promise, mode) in found for mode in modes)
    ]
    return Table(columns, rows)


def sentence(run: RunRecord) -> str:
    """Return what push saves, in one sentence, over all modes; what did not pass is named."""
    found = promised(run)
    parts = [
        _part(label, [found[promise, mode] for mode in modes_of(found) if (promise, mode) in found])
        for promise, label in LABELS.items()
    ]
    return f"Push against polling: {', '.join(filter(None, parts))}."


def _part(label: str, criteria: Sequence[CriterionRecord]) -> str:
    if not criteria:
        return ""
    open_ones = [f"{c.mode}: {c.verdict}" for c in criteria if c.verdict != "pass"]
    saved = sorted(c.value for c in criteria if c.unit == SAVED and c.value is not None)
    told = f"{label} {_range(saved)}" if saved else label
    return f"{told} ({', '.join(open_ones)})" if open_ones else told


def _range(saved: Sequence[float]) -> str:
    low, high = less(saved[0]), less(saved[-1])
    if low == high:
        return low
    if low.split()[1:] == high.split()[1:]:
        low = low.split()[0]
    return f"{low} to {high}"


def _rank(c: CriterionRecord) -> tuple[int, bool, float]:
    worse = c.ci_low if c.ci_low is not None else c.value
    comparable = c.unit == SAVED and worse is not None
    return ORDER.index(c.verdict), not comparable, worse if comparable and worse is not None else 0.0
