"""One whole run: plan, execute, keep, decide, report."""

from __future__ import annotations

import itertools
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.gate.decide import decide
from harness.gate.outcome import conclude
from harness.gate.samples import Samples, control
from harness.records.environment import fingerprint, pressure, short_commit
from harness.records.schema import Control, Observation, RunRecord
from harness.records.store import Store
from harness.records.summary import summarise
from harness.report.render import render
from harness.run.executor import Executor
from harness.run.plan import ArmRun, expected_s, plan
from harness.suite import modes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.suite import Suite

Ended = Literal["complete", "interrupted", "budget"]

STALL_LIMIT = 0.25
"""Share of time that tasks waited for a core around the run, above which a warning stands in the report."""


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


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        suite: The suite, selected and overridden.
        seed: Seed of the order.
        out: Parent of the run's folder.
        command: How it was asked for.
        budget_s: Time after which no further worker is started, None for no limit. One runs in any case.
    """

    suite: Suite
    seed: int
    out: Path
    command: str
    budget_s: float | None = None


def run_suite(request: Request, progress: Progress) -> tuple[RunRecord, Path]:
    """Run a suite and return its record and folder. Every observation is kept as it is made.

    Ctrl-C ends the run at once: what was measured is kept and reported, no process is left.

    Raises:
        ConfigError: The run's folder cannot be made.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{request.suite.name}-{short_commit()}"
    try:
        store = Store(_make_folder(request.out / run_id))
    except OSError as error:
        problem = Problem("", f"no folder can be made in {request.out}: {error.strerror}")
        raise ConfigError("--output", [problem]) from error
    runs = plan(request.suite, request.seed)
    environment = {**fingerprint(), "before": pressure()}
    start_s = time.monotonic()

    def record_of(observations: list[Observation], ended: Ended) -> RunRecord:
        record = _record(request, runs, observations, ended, {**environment, "after": pressure()})
        return _stamp(record, store.folder.name, started, time.monotonic() - start_s)

    def keep(observations: list[Observation]) -> None:
        store.write_record(record_of(observations, "interrupted"))

    observations, ended = _execute(request, runs, store, progress, keep)
    record = record_of(observations, ended)
    store.write_run(record)
    render(record, observations, store.folder)
    return record, store.folder


def _execute(
    request: Request,
    runs: Sequence[ArmRun],
    store: Store,
    progress: Progress,
    keep: Callable[[list[Observation]], None],
) -> tuple[list[Observation], Ended]:
    observations: list[Observation] = []
    logs = store.folder / "logs"
    logs.mkdir(exist_ok=True)
    executor = Executor(logs)
    progress.started(len(runs), expected_s(list(runs)))
    start_s = time.monotonic()
    ended: Ended = "complete"
    try:
        for arm_run in runs:
            if (
                observations
                and request.budget_s is not None
                and time.monotonic() - start_s > request.budget_s
            ):
                ended = "budget"
                break
            keep(observations)
            progress.arm(arm_run)
            with closing(executor.run(arm_run, progress.cell)) as made:
                for observation in made:
                    store.append(observation)
                    observations.append(observation)
                    progress.observed(observation)
            progress.arm_done(arm_run)
    except KeyboardInterrupt:
        ended = "interrupted"
    if not any(logs.iterdir()):
        shutil.rmtree(logs)
    return observations, ended


def _record(
    request: Request,
    runs: Sequence[ArmRun],
    observations: Sequence[Observation],
    ended: Ended,
    environment: dict[str, Any],
) -> RunRecord:
    suite = request.suite
    samples = Samples(observations)
    controls = _controls(suite, samples)
    by_metric = {(c.arm, c.workload, c.metric): c for c in controls}
    criteria = [
        decide(criterion, samples, by_metric, mode=modes_of(criterion, suite.arms))
        for criterion in suite.criteria
    ]
    outcome = conclude(criteria, observations, ended, dropped=len(suite.dropped))
    order: dict[int, list[str]] = {}
    for observation in observations:
        names = order.setdefault(observation.block, [])
        name = observation.arm if suite.tree == "arm" else f"{observation.arm}/{observation.workload}"
        if name not in names:
            names.append(name)
    missing = _planned(runs) - {(o.block, o.arm, o.workload) for o in observations}
    done = {block for block in order if all(block != unmade for unmade, _, _ in missing)}
    return RunRecord(
        run_id="",
        suite=suite.name,
        title=suite.title,
        command=request.command,
        seed=request.seed,
        blocks_planned=suite.blocks,
        blocks_done=len(done),
        started_utc="",
        duration_s=0.0,
        environment=environment,
        order=[order[block] for block in sorted(order)],
        cells=summarise(observations),
        criteria=criteria,
        controls=controls,
        warnings=_warnings(environment, observations),
        not_measured=_not_measured(suite, runs, observations),
        ended=ended,
        verdict=outcome.verdict,
        reason=outcome.reason,
        exit_code=int(outcome.exit_code),
    )


def _stamp(record: RunRecord, run_id: str, started: datetime, duration_s: float) -> RunRecord:
    return msgspec.structs.replace(
        record, run_id=run_id, started_utc=f"{started:%Y-%m-%dT%H:%M:%SZ}", duration_s=round(duration_s, 3)
    )


def _controls(suite: Suite, samples: Samples) -> list[Control]:
    gated = [c for c in suite.criteria if c.kind not in ("equal", "at_least")]
    metrics = {(c.workload, c.metric) for c in gated} | {(c.workload2, c.metric2) for c in gated if c.metric2}
    return [
        control(samples, arm.control_of, name, workload, metric)
        for name, arm in suite.arms.items()
        if arm.control_of
        for workload, metric in sorted(metrics)
        if workload in arm.workloads
    ]


def _warnings(environment: dict[str, Any], observations: Sequence[Observation]) -> list[str]:
    warnings = []
    for when in ("before", "after"):
        stalled = environment[when]["stall_share"]["cpu"]
        if stalled is not None and stalled > STALL_LIMIT:
            warnings.append(
                f"{when} the run, tasks waited for a core {stalled:.0%} of the time: something else runs here"
            )
    if environment["dirty"]:
        warnings.append("the checkout has uncommitted changes: the commit alone does not reproduce this run")
    late = sorted(
        {f"{o.arm} {o.workload}" for o in observations if (o.metrics.get("lag_p99_s") or 0.0) > 0.010}
    )
    if late:
        warnings.append(f"the load generator lagged more than 10 ms at p99: {', '.join(late)} are void")
    return warnings


def _not_measured(suite: Suite, runs: Sequence[ArmRun], observations: Sequence[Observation]) -> list[str]:
    lines = [f"criterion {name}: its cells were filtered out" for name in suite.dropped]
    planned = _planned(runs)
    measured = {(o.block, o.arm, o.workload) for o in observations}
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
    return {(r.block, r.arm.name, w.name) for r in runs for w in r.workloads}


def _make_folder(folder: Path) -> Path:
    """Make ``folder``, or the first of ``folder-2``, ``folder-3`` … that nobody else has; return which."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            if not candidate.exists():
                raise  # a file stands where the parent should be
        else:
            return candidate
    raise AssertionError("unreachable")
