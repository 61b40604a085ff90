"""Stored runs on a terminal: one shown, old ones removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from harness.prune import choose, remove, stored_runs
from harness.records.format import clean, quantity
from harness.report.missing import not_run
from harness.report.sections import summary
from harness.report.text import (
    Line,
    cells_table,
    opening,
    print_criteria,
    print_lines,
    print_table,
    verdict_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from rich.console import Console

    from harness.prune import Stored
    from harness.records.schema import RunRecord

PAGE = "report.html"


def print_run(record: RunRecord, folder: Path, console: Console) -> None:
    """Print cells, criteria, what is missing, what to beware of, and as the last line the verdict."""
    print_lines(console, [Line(Text(clean(summary(record)), style="bold")), *opening(record)])
    if record.cells:
        print_table(console, cells_table(record))
    print_criteria(console, record)
    for label, lines in (("not measured", not_run(record)), ("warning", record.warnings)):
        for line in lines:
            _print_line(console, f"{label}: {clean(line)}")
    page = folder / PAGE
    last = verdict_line(record, page if page.is_file() else folder)
    console.print(last, markup=False, highlight=False, soft_wrap=True)


def prune_runs(
    results: Path,
    keep: int | None,
    older_than: timedelta | None,
    console: Console,
    *,
    ask: Callable[[str], bool] | None,
    dry_run: bool,
) -> None:
    """Remove old runs and say which.

    Args:
        results: The folder that they lie in.
        keep: How many of the newest stay, None for no such rule.
        older_than: Age from which a run may go, None for no such rule.
        console: Where to say it.
        ask: Asked a question before anything is removed, None to remove without.
        dry_run: Only say what would go.

    Raises:
        ConfigError: There is no such folder.
        OSError: Something cannot be removed; what was before it is gone, and said to be.
    """
    pruning = choose(stored_runs(results), keep, older_than, datetime.now(UTC))
    going, staying = pruning.remove, len(pruning.keep)
    for run in pruning.keep:
        if run.going_on:
            _print_line(console, f"{run.folder} stays: it may still be going on")
    if dry_run or not going:
        for run in going:
            _print_line(console, f"would remove {_described(run)}")
    else:
        for run in going if ask is not None else ():
            _print_line(console, _described(run))
        if ask is not None and not ask(f"Remove {_counted(len(going))}?"):
            _print_line(console, "nothing was removed")
            return
        going = []
        for run in remove(pruning.remove):
            _print_line(console, f"removed {_described(run)}")
            going.append(run)
        resumed = [run for run in pruning.remove if run not in going and run.folder.is_dir()]
        for run in resumed:
            _print_line(console, f"{run.folder} stays: it is being measured by now")
        staying += len(resumed)
    freed = quantity(sum(run.size_bytes for run in going), "B")
    verb = "would go" if dry_run else "removed"
    _print_line(console, f"{_counted(len(going))} {verb} ({freed}), {staying} kept in {results}")


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def _described(run: Stored) -> str:
    return f"{run.folder} ({quantity(run.size_bytes, 'B')})"


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
