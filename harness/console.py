"""What the command line prints of suites, of runs that have ended, and of comparisons."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedbench.errors import ConfigError, Problem
from harness.records.format import clean, counted, duration
from harness.records.metrics import METRICS
from harness.records.store import write_atomically
from harness.report.changes import verdict_line as changes_verdict
from harness.report.changes_text import changes_table
from harness.report.comparison import render_comparison
from harness.report.text import opening, print_criteria, print_lines, print_table, verdict_line
from harness.run.plan import ArmRun, expected_s, longest_s, plan
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import WORKLOADS, catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.records.schema import ComparisonRecord, RunRecord
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


def print_verdict(record: RunRecord, folder: Path, console: Console, last: Console) -> None:
    """Print what push saves, the criteria, what to beware of, and as the last line the verdict."""
    print_lines(console, opening(record))
    print_criteria(console, record)
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
        f"{suite.name}: {counted(suite.first_look, 'block')}, {counted(len(runs), 'worker')}, "
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
    return f"; what is then undecided goes on, up to {counted(suite.most_blocks, 'block')}{time}"


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
        print_table(console, Padding(content, (0, 0, 0, 2), expand=False))
