"""What a run looks like while it runs: a bar with the time left on a terminal, plain lines without one.

The plan expects each worker to take the time that it takes on the machine where the expectations were
written down. How much longer the workers took here so far tells how long the rest takes.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from harness.records.format import clean, counted, duration, quantity
from harness.report.firsts import FirstResults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from harness.records.schema import Observation
    from harness.report.firsts import Watched
    from harness.run.plan import ArmRun

_TRUST_S = 2.0
"""Seconds of the plan that count as done on time before any is, so that one short worker does not decide."""


class PlainProgress:
    """One line a worker. With ``verbose``, one a cell.

    Args:
        console: Where to print.
        verbose: 1 for a line a cell; -1 for what went wrong alone.
        watched: Promises whose first results are shown as soon as they are there.
        limit_s: Time after which the run begins no further block, None for no limit.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        console: Console,
        verbose: int = 0,
        watched: Sequence[Watched] = (),
        *,
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._verbose = verbose
        self._firsts = FirstResults(watched)
        self._limit_s = limit_s
        self._clock = clock
        self._start_s = clock()
        self._runs = self._done = 0
        self._expected_s = self._done_s = 0.0

    def started(self, runs: int, expected_s: float) -> None:
        """Say how long it will take."""
        self._runs, self._expected_s = runs, expected_s
        self._start_s = self._clock()
        if self._verbose >= 0:
            self._print(f"{counted(runs, 'worker')}, about {duration(expected_s)}")

    def arm(self, arm_run: ArmRun) -> None:
        """A worker starts: nothing to say yet."""

    def cell(self, name: str) -> None:
        """A workload begins: nothing to say yet."""

    def observed(self, observation: Observation) -> None:
        """Say what went wrong, and the first result of each promise; with ``verbose`` also what went well."""
        o = observation
        if o.status != "ok":
            reasons = clean("; ".join(o.reasons))
            self._print(f"  {o.arm} {o.workload}: {o.status}: {reasons}")
        elif self._verbose > 0:
            operations = f"{o.operations} operations in " if o.operations else ""
            self._print(f"  {o.arm} {o.workload}: ok, {operations}{quantity(o.elapsed_s, 's')}")
        firsts = self._firsts.observed(o)
        if self._verbose >= 0:
            for first in firsts:
                self._print(first)

    def arm_done(self, arm_run: ArmRun) -> None:
        """Say how far it is."""
        self._advance(arm_run)
        if self._verbose >= 0:
            left = f", {self._left()}" if self._done < self._runs else ""
            width = len(str(self._runs))
            self._print(f"{self._done:>{width}}/{self._runs} {arm_run.title} done{left}")

    def block_done(self, block: int, decided: int, of: int, left_s: float) -> None:
        """Say how many criteria a block has decided, and how long the rest takes at most.

        Args:
            block: Number of the block, from 1.
            decided: Criteria that are decided by now.
            of: Criteria that there are.
            left_s: Seconds that the plan expects if every further block is run; 0 if none will be.
        """
        if self._verbose >= 0:
            left = f", {self._at_most(left_s)}" if left_s > 0 else ""
            self._print(f"block {block}: {decided} of {of} decided{left}")

    def notice(self, text: str) -> None:
        """Say something about the run, on one line."""
        if self._verbose >= 0:
            self._print(clean(text))

    def _advance(self, arm_run: ArmRun) -> None:
        self._done += 1
        self._done_s += arm_run.expected_s()

    def _scale(self) -> float:
        """Return how many times longer than planned the work took so far."""
        if not self._done_s:
            return 1.0
        return (self._clock() - self._start_s + _TRUST_S) / (self._done_s + _TRUST_S)

    def _left(self) -> str:
        return f"about {duration(max(self._expected_s - self._done_s, 0) * self._scale())} left"

    def _at_most(self, planned_s: float) -> str:
        left_s = planned_s * self._scale()
        if self._limit_s is not None:
            left_s = min(left_s, max(self._limit_s - (self._clock() - self._start_s), 0.0))
        return f"about {duration(left_s)} left at most"

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=not self._console.is_terminal)


class BarProgress(PlainProgress):
    """One bar with the time left; above it what went wrong, the first results, and each block's decisions."""

    def __init__(
        self,
        console: Console,
        bar: Progress,
        verbose: int = 0,
        watched: Sequence[Watched] = (),
        *,
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, verbose, watched, limit_s=limit_s, clock=clock)
        self._bar = bar
        self._task = bar.add_task("starting", total=None, left="")
        self._title = ""
        self._known = ""

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
        self._bar.update(self._task, description=f"{self._title} {name}", left=f"{self._known}{self._left()}")

    def arm_done(self, arm_run: ArmRun) -> None:
        """Move the bar."""
        self._advance(arm_run)
        self._bar.update(self._task, completed=min(self._done_s, self._expected_s))

    def block_done(self, block: int, decided: int, of: int, left_s: float) -> None:
        """Say above the bar what a block has decided; the bar goes on with how many are."""
        super().block_done(block, decided, of, left_s)
        self._known = f"{decided} of {of} decided, "


@contextmanager
def create_progress(
    console: Console,
    verbose: int,
    watched: Sequence[Watched] = (),
    *,
    limit_s: float | None = None,
) -> Iterator[PlainProgress]:
    """Show a bar while the block runs if ``console`` is a terminal, else plain lines.

    Args:
        console: Where to print.
        verbose: As for :class:`PlainProgress`; below 0 there is no bar.
        watched: As for :class:`PlainProgress`.
        limit_s: As for :class:`PlainProgress`.
    """
    if not console.is_terminal or verbose < 0:
        yield PlainProgress(console, verbose, watched, limit_s=limit_s)
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
        yield BarProgress(console, bar, verbose, watched, limit_s=limit_s)
