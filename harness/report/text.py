"""The verdict on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.records.format import clean, interval, quantity
from harness.report.arms import by_arm
from harness.report.sections import target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.records.schema import MetricSummary, RunRecord, Verdict

_STYLES: dict[Verdict, str] = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "contaminated": "yellow",
}

_SHOWN: dict[str, tuple[str, ...]] = {
    "median": ("latency_p50_s", "round_s", "start_s"),
    "p99": ("latency_p99_s",),
    "CPU": ("cpu_s_per_op", "cpu_cores", "server_cpu_cores"),
    "memory": ("memory_peak_bytes", "memory_per_client_bytes", "server_per_client_bytes"),
}
"""Columns of the table of cells: the first of these metrics that a cell has."""


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
            Text(clean(c.id)),
            target(c),
            quantity(c.value, c.unit),
            Text(interval(c.ci_low, c.ci_high, c.unit)),
            str(c.n),
            Text(c.verdict, style=_STYLES[c.verdict]),
        )
    reasons = [
        Text(clean(f"{c.id}: {c.verdict}: {c.reason}"), style=_STYLES[c.verdict])
        for c in run.criteria
        if c.verdict != "pass"
    ]
    return Group(table, *reasons)


def cells_table(run: RunRecord) -> Table:
    """Return a row for each cell: how it ended, and the metrics that most cells have."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("workload", "arm", "status"):
        table.add_column(column, no_wrap=True)
    for column in ("n", *_SHOWN):
        table.add_column(column, justify="right", no_wrap=True)
    for cell in sorted(by_arm(run.cells), key=lambda cell: cell.workload):
        values = [_first(cell.metrics, names) for names in _SHOWN.values()]
        blocks = max((m.n for m in cell.metrics.values()), default=0)
        status = Text(cell.status, style="" if cell.status == "ok" else "bold red")
        table.add_row(Text(clean(cell.workload)), Text(clean(cell.arm)), status, str(blocks), *values)
    return table


def verdict_line(run: RunRecord, path: Path) -> str:
    """Return the last line of a run: verdict, reason and where the report is.

    Args:
        run: What was recorded.
        path: The report.
    """
    return f"{clean(run.verdict.upper())}: {clean(run.reason)} — {path}"


def _first(metrics: Mapping[str, MetricSummary], names: Sequence[str]) -> str:
    found = [metrics[name] for name in names if name in metrics and metrics[name].value is not None]
    return quantity(found[0].value, found[0].unit) if found else ""
