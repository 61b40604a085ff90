"""The verdict on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def criteria_table(run: RunRecord) -> Table:
    """Return the criteria with their verdicts."""
    table = Table(title=Text(clean(run.title)))
    table.add_column("criterion", overflow="fold")
    for column in ("target", "value", "interval", "n"):
        table.add_column(column, justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for c in run.criteria:
        table.add_row(
            Text(c.id),
            target(c),
            quantity(c.value, c.unit),
            Text(interval(c.ci_low, c.ci_high, c.unit)),
            str(c.n),
            Text(c.verdict, style=_STYLES[c.verdict]),
            Text(clean(c.reason)),
        )
    return table


def verdict_line(run: RunRecord, path: Path) -> str:
    """Return the last line of a run: verdict, reason and where the report is.

    Args:
        run: What was recorded.
        path: The report.
    """
    return f"{run.verdict.upper()}: {clean(run.reason)} — {path}"
