"""What a run looks like while it runs: bars with the time left on a terminal, plain lines without one."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedbench.errors import ConfigError, Problem
from harness.records.metrics import METRICS
from harness.report.text import criteria_table, verdict_line
from harness.run.plan import ArmRun, expected_s, plan
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import WORKLOADS, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from harness.records.schema import Observation, RunRecord
    from harness.suite import Suite

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Return a time such as ``90``, ``90s``, ``5m`` or ``1.5h`` in seconds.

    Raises:
        ConfigError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise ConfigError("--budget", [Problem("", f"{text!r} is no time: write 90s, 5m or 1h")])
    return float(match[1]) * _UNITS_S[match[2]]


def duration(seconds: float) -> str:
    """Return a time for people: ``45 s``, ``2 min 10 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class PlainProgress:
    """One line a worker. With ``verbose``, one a cell.

    Args:
        console: Where to print.
        verbose: 1 for a line a cell.
    """

    def __init__(self, console: Console, verbose: int = 0) -> None:
        self._console = console
        self._verbose = verbose
        self._runs = self._done = 0
        self._expected_s = self._done_s = 0.0

    def started(self, runs: int, expected_s: float) -> None:
        """Say how long it will take."""
        self._runs, self._expected_s = runs, expected_s
        self._print(f"{runs} workers, about {duration(expected_s)}")

    def arm(self, arm_run: ArmRun) -> None:
        """A worker starts: nothing to say yet."""

    def cell(self, name: str) -> None:
        """A workload begins: nothing to say yet."""

    def observed(self, observation: Observation) -> None:
        """Say what went wrong; with ``verbose`` also what went well."""
        title = f"{observation.arm} {observation.workload}"
        if observation.status != "ok":
            self._print(f"  {title}: {observation.status}: {'; '.join(observation.reasons)}")
        elif self._verbose:
            self._print(
                f"  {title}: ok, {observation.operations} operations in {observation.elapsed_s:.2f} s"
            )

    def arm_done(self, arm_run: ArmRun) -> None:
        """Say how far it is."""
        self._done += 1
        self._done_s += arm_run.expected_s()
        left = duration(max(self._expected_s - self._done_s, 0))
        self._print(f"{self._done}/{self._runs} {arm_run.title} done, about {left} left")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarProgress(PlainProgress):
    """One bar with the time left; above it only what went wrong."""

    def __init__(self, console: Console, bar: Progress, verbose: int = 0) -> None:
        super().__init__(console, verbose)
        self._bar = bar
        self._task = bar.add_task("starting", total=None, left="")

    def started(self, runs: int, expected_s: float) -> None:
        """Say how long it will take, and size the bar."""
        super().started(runs, expected_s)
        self._bar.update(self._task, total=expected_s)

    def arm(self, arm_run: ArmRun) -> None:
        """Show which worker runs."""
        self._title = arm_run.title
        self._bar.update(self._task, description=self._title)

    def cell(self, name: str) -> None:
        """Show which workload runs."""
        left = duration(max(self._expected_s - self._done_s, 0))
        self._bar.update(self._task, description=f"{self._title} {name}", left=f"about {left} left")

    def arm_done(self, arm_run: ArmRun) -> None:
        """Move the bar."""
        self._done += 1
        self._done_s += arm_run.expected_s()
        self._bar.update(self._task, completed=self._done_s)


@contextmanager
def create_progress(console: Console, verbose: int) -> Iterator[PlainProgress]:
    """Show a bar while the block runs if ``console`` is a terminal, else plain lines."""
    if not console.is_terminal or console.quiet:
        yield PlainProgress(console, verbose)
        return
    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield BarProgress(console, bar, verbose)


def print_verdict(record: RunRecord, folder: Path, console: Console, last: Console) -> None:
    """Print the criteria table, what to beware of, and as the last line the verdict."""
    if record.criteria:
        console.print(criteria_table(record))
    for warning in record.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    last.print(verdict_line(record, folder / "report.html"), markup=False, highlight=False, soft_wrap=True)


def print_plan(suite: Suite, seed: int, console: Console) -> None:
    """Print what would be run, in order, and how long it would take."""
    runs = plan(suite, seed)
    table = Table(title=f"{suite.name}: {suite.blocks} blocks, about {duration(expected_s(runs))}")
    for column in ("block", "order", "arm", "workloads"):
        table.add_column(column)
    for arm_run in runs:
        names = " ".join(workload.name for workload in arm_run.workloads)
        table.add_row(str(arm_run.block), str(arm_run.order), arm_run.arm.name, names)
    console.print(table)
    console.print("criteria: " + ", ".join(criterion.id for criterion in suite.criteria), highlight=False)


def print_catalogue(console: Console) -> None:
    """Print suites, stacks, workloads and metrics."""
    suites = _table("Suites", "name", "takes about", "title")
    for name in suite_names():
        suite = load_suite(name, catalogue(), stack_names())
        suites.add_row(name, duration(expected_s(plan(suite, 0))), suite.title)
    workloads = _table("Workloads", "kind", "parameters", "what it does")
    for kind, workload in WORKLOADS.items():
        parameters = " ".join(f"{name}={value}" for name, value in workload.defaults.items())
        workloads.add_row(kind, parameters, (workload.__doc__ or "").splitlines()[0])
    metrics = _table("Metrics", "name", "unit", "better", "what it measures")
    for name, metric in METRICS.items():
        metrics.add_row(name, metric.unit, metric.direction, metric.title)
    for table in (suites, workloads, metrics):
        console.print(table)
    console.print(f"Stacks: {', '.join(stack_names())}", highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
