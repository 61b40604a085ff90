"""A comparison on a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.records.format import clean, quantity
from harness.report.changes import ORDER, bounds, counts, margin, name, ordered, reliability, shift

if TYPE_CHECKING:
    from harness.records.schema import ChangeVerdict, ComparisonRecord

_STYLES: dict[ChangeVerdict, str] = {
    "regressed": "bold red",
    "improved": "green",
    "contaminated": "yellow",
    "inconclusive": "yellow",
}


def changes_table(record: ComparisonRecord) -> Group:
    """Return what changed or could not be told, why, and what to know; the unchanged are only counted.

    The verdict is not part of it: it goes last, see :func:`harness.report.changes.verdict_line`.
    """
    noticed = ordered(record.changes, *ORDER[:-1])
    table = Table(
        title=Text(f"{clean(record.base)} → {clean(record.candidate)}"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("verdict", no_wrap=True)
    table.add_column("what", overflow="fold")
    for column in ("base", "candidate", "change", "interval", "margin", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for change in noticed:
        table.add_row(
            Text(change.verdict, style=_STYLES[change.verdict]),
            Text(name(change)),
            quantity(change.base, change.unit),
            quantity(change.candidate, change.unit),
            shift(change),
            Text(bounds(change)),
            margin(change),
            str(change.n),
        )
    notes = [
        Text(f"{name(change)}: {change.verdict}: {clean(change.reason)}", style=_STYLES[change.verdict])
        for change in noticed
    ]
    notes += [Text(f"not compared: {clean(line)}") for line in record.not_compared]
    notes += [Text(f"warning: {clean(line)}") for line in record.warnings]
    notes += [Text(f"{counts(record.changes)}"), Text(reliability(record.rates))]
    return Group(*([table] if noticed else []), *notes)
