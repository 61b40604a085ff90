"""One whole run: plan, execute, keep, decide, report."""

from __future__ import annotations

import itertools
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.attempts import Spot, counted, spot
from harness.records.environment import fingerprint, pressure, short_commit
from harness.records.lock import held
from harness.records.store import Store, remove_unfinished
from harness.report.render import render
from harness.run import sittings
from harness.run.asked import Asked, digest_of_asked, write_asked
from harness.run.executor import Executor
from harness.run.folder import Unsaved, make_folder, saving
from harness.run.plan import ArmRun, block_runs, expected_s
from harness.run.profiling import NOT_COMPARABLE, NOTHING_LEFT, Profiler
from harness.run.progression import (
    cells_of_block,
    crowded,
    retries,
    spots,
    standing,
    unfinished,
    upcoming,
)
from harness.run.record import Ended, record_of
from harness.run.resumption import Earlier, obstacles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.records.schema import Observation, Rates, RunRecord
    from harness.run.plan import Cell
    from harness.suite import Suite


class Progress(Protocol):
    """Who is told how the run goes."""

    def started(self, runs: int, expected_s: float) -> None:
        """The run begins: ``runs`` workers, about ``expected_s`` seconds."""
        ...

    def arm(self, arm_run: ArmRun) -> None:
        """A worker starts."""
        ...

    def cell(self, name: str) -> None:
        """A workload begins."""
        ...

    def observed(self, observation: Observation) -> None:
        """A workload has ended."""
        ...

    def arm_done(self, arm_run: ArmRun) -> None:
        """A worker has ended."""
        ...

    def block_done(self, block: int, decided: int, of: int, left_s: float) -> None:
        """A block has ended: how many criteria are decided, and what the rest takes at most, as planned."""
        ...

    def notice(self, text: str) -> None:
        """Something happened that is no observation."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        suite: The suite, selected and overridden.
        seed: Seed of the order.
        out: Parent of the run's folder.
        command: How it was asked for.
        budget_s: Time after which no further worker is started, None for no limit. One runs in any case.
        profile: Whether to draw flame graphs of the first block's workers.
        rates: How often comparisons err here, for the report; None if that is not known.
    """

    suite: Suite
    seed: int
    out: Path
    command: str
    budget_s: float | None = None
    profile: bool = False
    rates: Rates | None = None


def run_suite(request: Request, progress: Progress) -> tuple[RunRecord, Path]:
    """Run a suite and return its record and folder. Every observation is kept as it is made.

    Ctrl-C ends the run at once: what was measured is kept and reported, no process is left.

    Raises:
        ConfigError: The run's folder cannot be made.
        Unsaved: Nothing more can be written to it; where only the report is missing, it has the record.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{request.suite.name}-{short_commit()}"
    try:
        store = Store(make_folder(request.out / run_id))
    except OSError as error:
        problem = Problem("", f"no folder can be made in {request.out}: {error.strerror}")
        raise ConfigError("--output", [problem]) from error
    with saving(store.folder), held(store.folder):
        write_asked(store.folder, Asked(suite=request.suite, seed=request.seed))
        environment = {**fingerprint(), "before": pressure()}
        run = _Run(request, store, f"{started:%Y-%m-%dT%H:%M:%SZ}", environment, Earlier())
        return run.carry_out(progress), store.folder


def resume_suite(
    folder: Path,
    asked: Asked,
    progress: Progress,
    *,
    budget_s: float | None = None,
    profile: bool = False,
    rates: Rates | None = None,
) -> tuple[RunRecord, Path]:
    """Continue a broken run: its suite, seed and order, and of its workers those that lack an observation.

    What a worker had measured before it broke off stays until the worker has run again as a whole.

    Args:
        folder: The run.
        asked: What it was asked for; its timeouts may be others.
        progress: Who is told how it goes.
        budget_s: As for a new run, for this sitting.
        profile: As for a new run, for this sitting.
        rates: As for a new run.

    Raises:
        ConfigError: It cannot be continued here, and why.
        Unsaved: As for a new run.
    """
    with saving(folder), held(folder):
        remove_unfinished(folder)
        record, observations = _resumable(folder, asked)
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        times = tuple(filter(None, str(record.environment.get("resumed_utc", "")).split(", ")))
        earlier = Earlier(tuple(observations), record.duration_s, (*times, now), record.profiled)
        request = Request(asked.suite, asked.seed, folder.parent, record.command, budget_s, profile, rates)
        environment = sittings.begun(record.environment, pressure()) | {
            "resumed_utc": ", ".join(earlier.resumed_utc)
        }
        run = _Run(request, Store(folder), record.started_utc, environment, earlier)
        return run.carry_out(progress), folder


def missing(asked: Asked, folder: Path | None) -> list[ArmRun]:
    """Return the workers to run: all, or those that a broken run in ``folder`` still needs.

    Raises:
        ConfigError: It cannot be continued here, and why.
    """
    if folder is None:
        return upcoming(asked.suite, asked.seed, [])
    with held(folder):
        return upcoming(asked.suite, asked.seed, _resumable(folder, asked)[1])


def _resumable(folder: Path, asked: Asked) -> tuple[RunRecord, list[Observation]]:
    """Return what a broken run has become.

    Raises:
        ConfigError: It cannot be continued here, and why.
    """
    store = Store(folder)
    record, observations = store.read_run(), store.observations()
    problems = obstacles(asked, digest_of_asked(folder), record, observations, fingerprint())
    if problems:
        raise ConfigError(str(folder), problems)
    return record, observations


class _Run:
    """One sitting of a run.

    Args:
        request: What to run.
        store: Where it is kept.
        started_utc: When its first sitting began.
        environment: Machine, checkout and pressure as they were then.
        earlier: What it has already.
    """

    def __init__(
        self, request: Request, store: Store, started_utc: str, environment: dict[str, Any], earlier: Earlier
    ) -> None:
        self._request = request
        self._store = store
        self._started_utc = started_utc
        self._environment = environment
        self._earlier = earlier
        self._planned: set[Spot] = set()
        self._observations = list(earlier.observations)
        self._profiler = Profiler(store.folder) if request.profile else None
        self._asked_sha256 = digest_of_asked(store.folder)
        self._start_s = time.monotonic()
        self._started = False

    def carry_out(self, progress: Progress) -> RunRecord:
        """Run what is missing, decide and report."""
        ended = self._execute(progress)
        record = self._record_of(ended)
        self._store.write_run(record)
        try:
            with saving(self._store.folder, "report"):
                render(record, counted(self._observations), self._store.folder, self._request.rates)
        except Unsaved as error:
            error.record = record
            raise
        return record

    def _record_of(self, ended: Ended, upcoming: ArmRun | None = None) -> RunRecord:
        """Return the record so far; ``upcoming`` is the worker that runs before the next one is written."""
        environment = sittings.ended(self._environment, pressure())
        suite = self._request.suite
        record = record_of(suite, self._planned, self._observations, ended, environment)
        profiled, notes = self._earlier.profiled, []
        if self._profiler is not None:
            attached = self._profiler.attached
            profiled |= attached or (upcoming is not None and self._profiler.looks_into(upcoming))
            notes = self._profiler.notes or ([] if attached or upcoming else [NOTHING_LEFT])
        if profiled:
            notes = [NOT_COMPARABLE, *notes]
        return msgspec.structs.replace(
            record,
            run_id=self._store.folder.name,
            command=self._request.command,
            seed=self._request.seed,
            started_utc=self._started_utc,
            duration_s=round(self._earlier.duration_s + self._spent_s(), 3),
            profiled=profiled,
            asked_sha256=self._asked_sha256,
            warnings=[*notes, *record.warnings],
        )

    def _spent_s(self) -> float:
        return time.monotonic() - self._start_s

    def _execute(self, progress: Progress) -> Ended:
        suite, seed = self._request.suite, self._request.seed
        logs = self._store.folder / "logs"
        logs.mkdir(exist_ok=True)
        executor = Executor(logs, self._profiler) if self._profiler else Executor(logs)
        first = upcoming(suite, seed, self._observations)
        progress.started(len(first), expected_s(first))
        ended: Ended = "complete"
        last_s = 0.0
        try:
            for block in itertools.count(1):
                cells = cells_of_block(suite, self._observations, block)
                begun_s = self._spent_s()
                if not cells or self._is_over(block, begun_s + last_s):
                    break
                if not self._run_block(block, cells, executor, progress):
                    ended = "budget"
                    break
                last_s = self._spent_s() - begun_s
                if crowded(self._observations):
                    progress.notice("hardly a cell of the last two blocks was quiet: the run ends here")
                    break
        except KeyboardInterrupt:
            ended = "interrupted"
        if not any(logs.iterdir()):
            shutil.rmtree(logs)
        return ended

    def _is_over(self, block: int, end_s: float) -> bool:
        """Return whether the time of the suite does not allow for a block that would end then."""
        suite = self._request.suite
        return suite.time_s is not None and block > suite.stages[0] and end_s > suite.time_s

    def _run_block(self, block: int, cells: set[Cell], executor: Executor, progress: Progress) -> bool:
        """Run what is missing of a block, then its void cells again; False once the budget is used up."""
        suite, seed = self._request.suite, self._request.seed
        runs = block_runs(suite, seed, block, cells)
        self._planned |= set().union(*map(spots, runs))
        todo = unfinished(runs, self._observations)
        if not self._run(todo, executor, progress):
            return False
        if not self._run(retries(suite, runs, self._observations), executor, progress):
            return False
        if todo:
            now = standing(suite, self._observations)
            left_s = expected_s(upcoming(suite, seed, self._observations)) if now.cells else 0.0
            progress.block_done(block, now.decided, len(suite.criteria), left_s)
        return True

    def _run(self, runs: Sequence[ArmRun], executor: Executor, progress: Progress) -> bool:
        """Run workers; return False where the budget did not allow for all."""
        budget_s = self._request.budget_s
        for arm_run in runs:
            if self._started and budget_s is not None and self._spent_s() > budget_s:
                return False
            self._started = True
            self._store.write_record(self._record_of("interrupted", arm_run))
            progress.arm(arm_run)
            with closing(executor.run(arm_run, progress.cell)) as made:
                self._keep(arm_run, made, progress)
            progress.arm_done(arm_run)
        return True

    def _keep(self, arm_run: ArmRun, made: Iterable[Observation], progress: Progress) -> None:
        """Keep what a worker measures: as it comes, or at its end in place of what an earlier one left."""
        gone = spots(arm_run) if arm_run.attempt == 1 else set[Spot]()
        others = [o for o in self._observations if spot(o) not in gone]
        replaced = len(others) < len(self._observations)
        fresh = []
        for observation in made:
            if replaced:
                fresh.append(observation)
            else:
                self._store.append(observation)
                self._observations.append(observation)
            progress.observed(observation)
        if replaced:
            self._store.replace([*others, *fresh])
            self._observations = [*others, *fresh]
