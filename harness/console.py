"""What a run looks like while it runs: bars with the time left on a terminal, plain lines without one."""

from __future__ import annotations

import re
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from fedbench.errors import ConfigError, Problem
from harness.records.metrics import METRICS
from harness.records.store import write_atomically
from harness.report.changes import verdict_line as changes_verdict
from harness.report.changes_text import changes_table
from harness.report.comparison import render_comparison
from harness.report.format import clean, quantity
from harness.report.text import criteria_table, verdict_line
from harness.run.plan import ArmRun, expected_s, longest_s, plan
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import WORKLOADS, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from harness.records.schema import ComparisonRecord, Observation, RunRecord
    from harness.suite import Suite

_ARROWS = {"lower": "↓", "higher": "↑"}
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str, option: str = "--budget") -> float:
    """Return a time such as ``90``, ``90s``, ``5m`` or ``1.5h`` in seconds.

    Args:
        text: The time.
        option: Where it stands.

    Raises:
        ConfigError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip(), re.ASCII)
    if not match or float(match[1]) == 0:
        raise ConfigError(option, [Problem("", f"{text!r} is no time: write 90s, 5m or 1h")])
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
        verbose: 1 for a line a cell; -1 for what went wrong alone.
    """

    def __init__(self, console: Console, verbose: int = 0) -> None:
        self._console = console
        self._verbose = verbose
        self._runs = self._done = 0
        self._expected_s = self._done_s = 0.0

    def started(self, runs: int, expected_s: float) -> None:
        """Say how long it will take."""
        self._runs, self._expected_s = runs, expected_s
        if self._verbose >= 0:
            self._print(f"{_count(runs, 'worker')}, about {duration(expected_s)}")

    def arm(self, arm_run: ArmRun) -> None:
        """A worker starts: nothing to say yet."""

    def cell(self, name: str) -> None:
        """A workload begins: nothing to say yet."""

    def observed(self, observation: Observation) -> None:
        """Say what went wrong; with ``verbose`` also what went well."""
        o = observation
        if o.status != "ok":
            reasons = clean("; ".join(o.reasons))
            self._print(f"  {o.arm} {o.workload}: {o.status}: {reasons}")
        elif self._verbose > 0:
            operations = f"{o.operations} operations in " if o.operations else ""
            self._print(f"  {o.arm} {o.workload}: ok, {operations}{quantity(o.elapsed_s, 's')}")

    def arm_done(self, arm_run: ArmRun) -> None:
        """Say how far it is."""
        self._advance(arm_run)
        if self._verbose >= 0:
            left = f", {self._left()}" if self._done < self._runs else ""
            width = len(str(self._runs))
            self._print(f"{self._done:>{width}}/{self._runs} {arm_run.title} done{left}")

    def left(self, runs: int, left_s: float) -> None:
        """Take over what is left as the machine shows it."""
        self._runs, self._expected_s = self._done + runs, self._done_s + left_s

    def decided(self, block: int, decided: int, criteria: int) -> None:
        """Say how many criteria are decided."""
        if self._verbose >= 0 and criteria:
            self._print(f"block {block}: {decided} of {criteria} criteria decided")

    def _advance(self, arm_run: ArmRun) -> None:
        self._done += 1
        self._done_s += arm_run.expected_s()

    def _left(self) -> str:
        return f"about {duration(max(self._expected_s - self._done_s, 0))} left"

    def _print(self, line: str) -> None:
        _print_line(self._console, line)


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
        self._bar.update(self._task, description=f"{self._title} {name}", left=self._left())

    def arm_done(self, arm_run: ArmRun) -> None:
        """Move the bar."""
        self._advance(arm_run)
        self._bar.update(self._task, completed=self._done_s)

    def left(self, runs: int, left_s: float) -> None:
        """Size the bar anew."""
        super().left(runs, left_s)
        self._bar.update(self._task, total=self._expected_s)


@contextmanager
def create_progress(console: Console, verbose: int) -> Iterator[PlainProgress]:
    """Show a bar while the block runs if ``console`` is a terminal, else plain lines.

    Args:
        console: Where to print.
        verbose: As for :class:`PlainProgress`; below 0 there is no bar.
    """
    if not console.is_terminal or verbose < 0:
        yield PlainProgress(console, verbose)
        return
    columns = (
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True)),
        TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield BarProgress(console, bar, verbose)


def print_verdict(record: RunRecord, folder: Path, console: Console, last: Console) -> None:
    """Print the criteria table, what to beware of, and as the last line the verdict."""
    if record.criteria:
        console.print(criteria_table(record))
    for warning in record.warnings:
        _print_line(console, f"warning: {clean(warning)}")
    page = folder / "report.html"
    line = verdict_line(record, page if page.is_file() else folder)
    last.print(line, markup=False, highlight=False, soft_wrap=True)


def print_comparison(record: ComparisonRecord, format: str, output: Path | None, console: Console) -> None:
    """Render a comparison: into a file, or on the console, there in colour.

    Raises:
        ConfigError: There is no such format.
        OSError: The file cannot be written.
    """
    if output is None and format == "text" and console.is_terminal:
        console.print(changes_table(record))
        console.print(changes_verdict(record), markup=False, highlight=False, soft_wrap=True)
        return
    text = render_comparison(record, format)
    if output is None:
        console.out(text, end="", highlight=False)
    else:
        write_atomically(output, text.encode())


def _print_line(console: Console, line: str) -> None:
    """Print text as it is: broken between words on a terminal, a line for other programs."""
    console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def print_plan(
    suite: Suite,
    seed: int,
    console: Console,
    *,
    budget_s: float | None = None,
    runs: list[ArmRun] | None = None,
) -> None:
    """Print what would be run, in order, and how long it would take: a line a block, or one a workload.

    Args:
        suite: The suite.
        seed: Seed of the order.
        console: Where to print.
        budget_s: Seconds after which nothing more would be started, None for no limit.
        runs: Workers that would be run, None for all.
    """
    runs = plan(suite, seed) if runs is None else runs
    console.print(
        f"{suite.name}: {_count(suite.first_look, 'block')}, {_count(len(runs), 'worker')}, "
        f"{suite.modes}, seed {seed}, about {duration(expected_s(runs))}{_further(suite)}\n",
        style="bold",
        highlight=False,
    )
    order = _listing()
    for heading, group in groupby(runs, lambda run: _heading(suite, run)):
        order.add_row(heading, " ".join(run.arm.name for run in group))
    arms = _listing(2)
    for arm in suite.arms.values():
        takes = duration(expected_s([run for run in runs if run.arm.name == arm.name]))
        arms.add_row(arm.name, takes, " ".join(arm.workloads))
    time = f"about {duration(expected_s(runs))}; {duration(longest_s(runs))} if each cell took its timeout"
    if budget_s is not None:
        time += f"; nothing starts after {duration(budget_s)}"
    criteria = " ".join(criterion.id for criterion in suite.criteria) or "none"
    _print_parts(
        console,
        ("Order", order),
        ("Arms, their time over all blocks, and their workloads", arms),
        ("Time in all", time),
        ("Criteria", criteria),
    )


def _further(suite: Suite) -> str:
    """Return that more blocks may follow what is printed, empty where none can."""
    if not suite.looks:
        return ""
    time = f" or {duration(suite.time_s)}" if suite.time_s else ""
    return f"; what is then undecided goes on, up to {_count(suite.most_blocks, 'block')}{time}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _heading(suite: Suite, arm_run: ArmRun) -> str:
    cell = f" {arm_run.workloads[0].name}" if suite.tree == "cell" else ""
    return f"block {arm_run.block:>{len(str(suite.blocks))}}{cell}"


def print_catalogue(console: Console) -> None:
    """Print suites, stacks, workloads and metrics."""
    suites, workloads, metrics = _listing(), _listing(), _listing(2)
    for name in suite_names():
        suite = load_suite(name, catalogue(), stack_names())
        takes = duration(expected_s(plan(suite, 0)))
        suites.add_row(name, Text.assemble(suite.title, (f"\nabout {takes}, {suite.modes} mode", "dim")))
    for kind, workload in WORKLOADS.items():
        parameters = " ".join(f"{name}={value}" for name, value in workload.defaults.items())
        summary = (workload.__doc__ or "").splitlines()[0]
        workloads.add_row(kind, Text.assemble(summary, (f"\n{parameters}", "dim")))
    for name, metric in METRICS.items():
        metrics.add_row(name, f"{_ARROWS[metric.direction]} {metric.unit}", metric.title)
    _print_parts(
        console,
        ("Suites", suites),
        ("Stacks", " ".join(stack_names())),
        ("Workloads and their parameters", workloads),
        ("Metrics (↓ less is better, ↑ more is better)", metrics),
    )


def _listing(names: int = 1) -> Table:
    """Return a table whose first ``names`` columns are never cut, however narrow the terminal."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(names):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _print_parts(console: Console, *parts: tuple[str, Table | str]) -> None:
    for number, (title, content) in enumerate(parts):
        console.print("\n" * (number > 0) + title, style="bold", highlight=False)
        console.print(Padding(content, (0, 0, 0, 2), expand=False), highlight=False)
