"""The verdict on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.report.format import clean, interval, quantity
from harness.report.sections import target

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records.schema import RunRecord, Verdict

_STYLES: dict[Verdict, str] = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "contaminated": "yellow",
}


def criteria_table(run: RunRecord) -> Group:
    """Return the criteria with their verdicts, and below them why those that did not pass did not."""
    table = Table(
        title=Text(clean(run.title)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("criterion", no_wrap=True)
    for column in ("target", "value", "interval", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for c in run.criteria:
        table.add_row(
            Text(c.id),
            target(c),
            quantity(c.value, c.unit),
            Text(interval(c.ci_low, c.ci_high, c.unit)),
            str(c.n),
            Text(c.verdict, style=_STYLES[c.verdict]),
        )
    reasons = [
        Text(f"{c.id}: {c.verdict}: {clean(c.reason)}", style=_STYLES[c.verdict])
        for c in run.criteria
        if c.verdict != "pass"
    ]
    return Group(table, *reasons)


def verdict_line(run: RunRecord, path: Path) -> str:
    """Return the last line of a run: verdict, reason and where the report is.

    Args:
        run: What was recorded.
        path: The report.
    """
    return f"{run.verdict.upper()}: {clean(run.reason)} — {path}"
