"""The verdict on a terminal, and without one: there every line stays whole, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.records.format import NOTHING, clean, quantity
from harness.report.arms import by_arm
from harness.report.criteria import beside, bounds, measured, ordered, target
from harness.report.promises import SIGNS, promise_table, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType

    from harness.records.schema import CriterionRecord, MetricSummary, RunRecord, Verdict

UNBROKEN = 100_000
"""Columns where there is no terminal: more than any line has."""

_STYLES: Mapping[Verdict, str] = {
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

_HEADS = ("criterion", "verdict", "value", "interval", "target", "n")
_LEFT = 2
"""Columns of the criteria that are aligned on the left; numbers are on the right."""
_INTERVAL = 3
_INDENT = 4


class Line(NamedTuple):
    """A line of text, which a terminal breaks between words.

    Attributes:
        text: The text.
        indent: Columns that it, and what is broken off it, stand in.
    """

    text: Text
    indent: int = 0


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    """Print lines: broken between words on a terminal, whole without one."""
    for text, indent in lines:
        if console.is_terminal and text:
            console.print(Padding(text, (0, 0, 0, indent), expand=False), highlight=False)
        else:
            console.print(Text(" " * indent) + text, highlight=False, soft_wrap=True)


def print_table(console: Console, content: RenderableType) -> None:
    """Print a table: within a terminal's width, as wide as it is without one."""
    if console.is_terminal:
        console.print(content, highlight=False)
        return
    for line in console.render_lines(content, console.options.update(width=UNBROKEN), pad=False):
        console.print(
            "".join(part.text for part in line).rstrip(), markup=False, highlight=False, soft_wrap=True
        )


def print_criteria(console: Console, run: RunRecord) -> None:
    """Print the criteria, if there are any."""
    if run.criteria:
        print_lines(console, criteria_lines(run, console.width if console.is_terminal else UNBROKEN))


def opening(run: RunRecord) -> list[Line]:
    """Return what push saves: a sentence, and a row for each promise; nothing for a run without promises."""
    table = promise_table(run)
    if table is None:
        return []
    heads = [[title for title, _ in table.columns]]
    rows = [[cell.splitlines() or [""] for cell in row] for row in table.rows]
    widths = [
        max(len(line) for row in ([[head] for head in heads[0]], *rows) for line in row[column])
        for column in range(len(heads[0]))
    ]
    lines = [Line(Text(clean(sentence(run)), style="bold")), Line(Text())]
    lines.append(Line(Text("  ".join(map(str.ljust, ["", *heads[0][1:]], widths)).rstrip(), style="dim")))
    for row in rows:
        for number in range(max(map(len, row))):
            cells = [cell[number] if number < len(cell) else "" for cell in row]
            lines.append(Line(_coloured(cells, widths)))
    return [*lines, Line(Text())]


def _coloured(cells: Sequence[str], widths: Sequence[int]) -> Text:
    text = Text()
    for cell, width in zip(cells, widths, strict=True):
        style = next(
            (_STYLES[v] for v, sign in SIGNS.items() if cell == v or cell.startswith(f"{sign} ")), ""
        )
        text.append(clean(cell).ljust(width) + "  ", style=style)
    text.rstrip()
    return text


def criteria_lines(run: RunRecord, width: int = UNBROKEN) -> list[Line]:
    """Return the criteria, those that failed first, each with its reason and what stands beside it.

    Args:
        run: What was recorded.
        width: Columns there are. Where they are too few, the intervals stand below the values.
    """
    chosen = ordered(run.criteria)
    rows = [_cells(c) for c in chosen]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    narrow = sum(widths) + 2 * (len(widths) - 1) > width
    lines = [Line(Text(clean(run.title), style="bold")), Line(_row(_HEADS, widths, "dim", narrow=narrow))]
    for c, row in zip(chosen, rows, strict=True):
        lines.append(Line(_row(row, widths, _STYLES[c.verdict], narrow=narrow)))
        lines += _below(c, narrow=narrow)
    return [*lines, Line(Text())]


def _cells(c: CriterionRecord) -> tuple[str, ...]:
    found = bounds(c, c.unit) or NOTHING
    return clean(c.id), f"{SIGNS[c.verdict]} {c.verdict}", measured(c), found, target(c), str(c.n)


def _row(cells: Sequence[str], widths: Sequence[int], style: str, *, narrow: bool) -> Text:
    text = Text()
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        if column == _INTERVAL and narrow:
            continue
        aligned = cell.ljust(width) if column < _LEFT else cell.rjust(width)
        text.append(aligned, style=style if column == _LEFT - 1 or style == "dim" else "")
        text.append("  ")
    text.rstrip()
    return text


def _below(c: CriterionRecord, *, narrow: bool) -> list[Line]:
    """Return what stands below the row of a criterion."""
    found = bounds(c, c.unit)
    lines = [f"interval {found}"] if narrow and found else []
    styled = [Line(Text(line, style="dim"), _INDENT) for line in lines]
    if c.verdict != "pass" and c.reason:
        styled.append(Line(Text(clean(c.reason), style=_STYLES[c.verdict]), _INDENT))
    dim = [f"disturbed: {line}" for line in c.void] if c.verdict == "contaminated" else []
    dim += [f"beside: {'; '.join(beside(c))}"] if c.beside else []
    dim += [f"note: {c.note}"] if c.note else []
    return styled + [Line(Text(clean(line), style="dim"), _INDENT) for line in dim]


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
