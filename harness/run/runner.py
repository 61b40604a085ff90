"""One whole run: plan, execute, keep, decide, report."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.acceptance.outcome import conclude
from harness.records.environment import fingerprint, pressure, short_commit
from harness.records.lock import held
from harness.records.schema import Observation, Rates, RunRecord
from harness.records.store import Store, remove_unfinished
from harness.records.summary import summarise
from harness.report.render import render
from harness.run import sittings
from harness.run.asked import Asked, digest_of_asked, write_asked
from harness.run.deciding import hopeless, needed_cells, runs_again, state_of
from harness.run.executor import Executor
from harness.run.folder import Unsaved, make_folder, saving
from harness.run.plan import ArmRun, block_runs, expected_s, plan
from harness.run.profiling import NOT_COMPARABLE, NOTHING_LEFT, Profiler
from harness.run.resumption import Earlier, obstacles, spot, spots, unfinished
from harness.run.stability import warnings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.run.progress import Progress
    from harness.suite import Suite

Ended = Literal["complete", "interrupted", "budget"]


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
    runs = plan(asked.suite, asked.seed)
    if folder is None:
        return runs
    with held(folder):
        return unfinished(runs, _resumable(folder, asked)[1])


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
        self._runs = plan(request.suite, request.seed)
        self._workers = 0
        self._block_s = 0.0
        self._why = ""
        self._observations = list(earlier.observations)
        self._profiler = Profiler(store.folder) if request.profile else None
        self._asked_sha256 = digest_of_asked(store.folder)
        self._start_s = time.monotonic()

    def carry_out(self, progress: Progress) -> RunRecord:
        """Run what is missing, decide and report."""
        ended = self._execute(progress)
        record = self._record_of(ended)
        self._store.write_run(record)
        try:
            with saving(self._store.folder, "report"):
                render(record, self._observations, self._store.folder, self._request.rates)
        except Unsaved as error:
            error.record = record
            raise
        return record

    def _record_of(self, ended: Ended, upcoming: ArmRun | None = None) -> RunRecord:
        """Return the record so far; ``upcoming`` is the worker that runs before the next one is written."""
        environment = sittings.ended(self._environment, pressure())
        why = self._why if ended == "complete" else f"the run was broken off ({ended}): resume it"
        record = _record(self._request, self._runs, self._observations, (ended, why), environment)
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
            started_utc=self._started_utc,
            duration_s=round(self._earlier.duration_s + self._spent_s(), 3),
            profiled=profiled,
            asked_sha256=self._asked_sha256,
            warnings=[*notes, *record.warnings],
        )

    def _spent_s(self) -> float:
        return time.monotonic() - self._start_s

    def _execute(self, progress: Progress) -> Ended:
        logs = self._store.folder / "logs"
        logs.mkdir(exist_ok=True)
        executor = Executor(logs, self._profiler) if self._profiler else Executor(logs)
        first = unfinished(self._runs, self._observations)
        progress.started(len(first), expected_s(first))
        try:
            ended = self._run_blocks(executor, progress)
        except KeyboardInterrupt:
            ended = "interrupted"
        if not any(logs.iterdir()):
            shutil.rmtree(logs)
        return ended

    def _run_blocks(self, executor: Executor, progress: Progress) -> Ended:
        """Run block by block what is shown or undecided, and void cells once more at the end of theirs."""
        suite = self._request.suite
        for block in range(1, suite.most_blocks + 1):
            before = [o for o in self._observations if o.block < block]
            runs = block_runs(suite, self._request.seed, block, needed_cells(suite, block, before))
            self._plan(block, runs)
            left = unfinished(runs, self._observations)
            if left:
                self._why = self._stopping(block, before)
                if self._why:
                    progress.notice(self._why)
                    break
            begun_s = self._spent_s()
            if not self._run_all(left, executor, progress):
                return "budget"
            again = runs_again(runs, self._wanted(), [o for o in self._observations if o.block == block])
            if not self._run_all(again, executor, progress):
                return "budget"
            if left or again:
                self._block_s = self._spent_s() - begun_s
                self._tell(block, progress)
        return "complete"

    def _wanted(self) -> set[tuple[str, str]]:
        """Return the cells that undecided criteria wait for now, and that have to be quiet."""
        return state_of(self._request.suite, self._observations, over=False).wanted_quiet

    def _tell(self, block: int, progress: Progress) -> None:
        """Tell what is decided behind a block, and how long all that may follow was planned to take."""
        suite, seed = self._request.suite, self._request.seed
        state = state_of(suite, self._observations, over=False)
        cells = needed_cells(suite, block + 1, self._observations)
        blocks = max(suite.blocks if state.waits else suite.first_look, block + bool(cells)) - block
        left_s = expected_s(block_runs(suite, seed, block + 1, cells)) * blocks
        progress.block_done(block, state.decided, len(suite.criteria), left_s)

    def _plan(self, block: int, runs: list[ArmRun]) -> None:
        """Have a block's workers in the plan, in place of what was planned for it before."""
        self._runs = [
            *(run for run in self._runs if run.block < block),
            *runs,
            *(run for run in self._runs if run.block > block),
        ]

    def _stopping(self, block: int, before: Sequence[Observation]) -> str:
        """Return why no further block begins, empty to go on."""
        suite = self._request.suite
        time_s, end_s = suite.time_s, self._earlier.duration_s + self._spent_s() + self._block_s
        if block > suite.first_look and time_s is not None and end_s > time_s:
            return f"the time of {time_s:g} s was up: give more with a longer time_s, or with --blocks"
        return hopeless(before)

    def _run_all(self, runs: Sequence[ArmRun], executor: Executor, progress: Progress) -> bool:
        """Run workers in turn; return whether the budget sufficed."""
        budget_s = self._request.budget_s
        for arm_run in runs:
            if self._workers and budget_s is not None and self._spent_s() > budget_s:
                return False
            self._workers += 1
            self._store.write_record(self._record_of("interrupted", arm_run))
            progress.arm(arm_run)
            with closing(executor.run(arm_run, progress.cell)) as made:
                self._keep(arm_run, made, progress)
            progress.arm_done(arm_run)
        return True

    def _keep(self, arm_run: ArmRun, made: Iterable[Observation], progress: Progress) -> None:
        """Keep what a worker measures: as it comes, or at its end in place of what an earlier one left."""
        others = [o for o in self._observations if spot(o) not in spots(arm_run)]
        replaced = len(others) < len(self._observations)
        void = {spot(o): _why_void(o) for o in self._observations if arm_run.attempt > 1}
        fresh = []
        for observation in made:
            if arm_run.attempt > 1:
                note = f"was run again: {void.get(spot(observation), '')}"
                observation = msgspec.structs.replace(observation, reasons=[*observation.reasons, note])
            if replaced:
                fresh.append(observation)
            else:
                self._store.append(observation)
                self._observations.append(observation)
            progress.observed(observation)
        if replaced:
            self._store.replace([*others, *fresh])
            self._observations = [*others, *fresh]


def _record(
    request: Request,
    runs: Sequence[ArmRun],
    observations: Sequence[Observation],
    ending: tuple[Ended, str],
    environment: dict[str, Any],
) -> RunRecord:
    suite, (ended, why) = request.suite, ending
    state = state_of(suite, observations, over=True, why=why)
    criteria = [decision.record for decision in state.decisions]
    outcome = conclude(criteria, observations, ended, dropped=len(suite.dropped))
    order: dict[int, list[str]] = {}
    for observation in observations:
        names = order.setdefault(observation.block, [])
        name = observation.arm if suite.tree == "arm" else f"{observation.arm}/{observation.workload}"
        if name not in names:
            names.append(name)
    missing = _planned(runs) - {spot(o) for o in observations}
    done = {block for block in order if all(block != unmade for unmade, _, _ in missing)}
    return RunRecord(
        run_id="",
        suite=suite.name,
        title=suite.title,
        command=request.command,
        seed=request.seed,
        blocks_planned=max(suite.blocks, len(done)),
        blocks_done=len(done),
        started_utc="",
        duration_s=0.0,
        environment=environment,
        order=[order[block] for block in sorted(order)],
        cells=summarise(observations),
        criteria=criteria,
        controls=state.controls,
        warnings=warnings_of(environment, observations),
        not_measured=_not_measured(suite, runs, observations),
        ended=ended,
        verdict=outcome.verdict,
        reason=outcome.reason,
        exit_code=int(outcome.exit_code),
        control_arms=[name for name, arm in suite.arms.items() if arm.control_of],
    )


def _why_void(observation: Observation) -> str:
    found = observation.disturbance
    return "; ".join(found.void if found is not None and found.void else observation.reasons)


def _not_measured(suite: Suite, runs: Sequence[ArmRun], observations: Sequence[Observation]) -> list[str]:
    lines = [f"criterion {name}: its cells were filtered out" for name in suite.dropped]
    planned = _planned(runs)
    measured = {spot(o) for o in observations}
    missing = len(planned - measured)
    if missing:
        lines.append(f"{missing} of {len(planned)} planned observations were not made")
    lines += sorted(
        {
            f"{o.arm} {o.workload}: {o.status}: {'; '.join(o.reasons)}"
            for o in observations
            if o.status != "ok"
        }
    )
    return lines


def _planned(runs: Sequence[ArmRun]) -> set[tuple[int, str, str]]:
    return set().union(*map(spots, runs))
