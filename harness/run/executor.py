"""Runs arms, each in a fresh process, and makes observations of what was measured."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from fedbench.loop import resolve_loop
from harness.probes.lognoise import LogCapture
from harness.records.derive import Outcome, Sampled, derive
from harness.records.schema import Observation, Status
from harness.run.process import CellTimeout, WorkerProcess, WorkerTimeout
from harness.run.protocol import CellJob, Finished, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from harness.run.plan import ArmRun
    from harness.run.profiling import Profiler
    from harness.suite import WorkloadSpec

KEPT_LOG_BYTES = 1 << 20
"""Output of an arm that went well is kept up to this size: what it logged may explain a failed criterion."""


class Executor:
    """Runs arms, each in a fresh process.

    Args:
        log_dir: Where the workers' output goes; long output of an arm that went well is deleted.
        profiler: Looks into the workers, None for nobody.
    """

    def __init__(self, log_dir: Path, profiler: Profiler | None = None) -> None:
        self._log_dir = log_dir
        self._profiler = profiler

    def run(self, arm_run: ArmRun, on_cell: Callable[[str], None]) -> Generator[Observation]:
        """Run one arm and yield an observation for each of its workloads as it ends.

        A workload that runs into its timeout ends its process; those behind it run in a fresh one.
        No process outlives this: not when the worker hangs, not when the consumer stops or is interrupted.

        Args:
            arm_run: What to run.
            on_cell: Called with the name of each workload as it begins.
        """
        left, note = arm_run.workloads, ""
        while left:
            before = left
            left = yield from self._attempt(replace(arm_run, workloads=left), on_cell, note)
            note = f"in a fresh process: {before[-len(left) - 1].name} had run into its timeout before"

    def _attempt(
        self, arm_run: ArmRun, on_cell: Callable[[str], None], note: str
    ) -> Generator[Observation, None, tuple[WorkloadSpec, ...]]:
        """Run workloads in one process; return those behind one that ran into its timeout, still to be run.

        Args:
            arm_run: What to run.
            on_cell: Called with the name of each workload as it begins.
            note: What to know about its observations.
        """
        capture = LogCapture(self._log_dir)
        profile = partial(self._profiler.attach, arm_run) if self._profiler else None
        try:
            worker = WorkerProcess(_job(arm_run, profiled=profile is not None), capture, profile)
        except BaseException:
            capture.close()
            raise
        pending = {workload.name: workload for workload in arm_run.workloads}
        held: Observation | None = None  # the last one waits for the end of its process, which may be bad
        reason, failed, overdue, may_go_on = "", False, False, False
        try:
            for finished, sampled in worker.cells(on_cell, pending):
                held = _noted(_observe(arm_run, pending.pop(finished.workload), finished, sampled), note)
                failed = failed or held.status == "failed"
                if pending:
                    yield held
            worker.wait()
            reason = worker.epitaph() if pending or worker.ended_badly() else ""
        except WorkerTimeout as error:
            reason, overdue, may_go_on = str(error), True, isinstance(error, CellTimeout)
        except (msgspec.DecodeError, OSError) as error:
            reason = f"measuring it went wrong: {type(error).__name__}: {error}"
        finally:
            worker.kill()
            capture.close()
        if held is not None and not pending:
            yield _spoilt(held, reason) if reason else held
        if not (failed or reason):
            _drop_if_long(capture.path)
        lost = tuple(pending.values())
        behind = lost[1:] if may_go_on else ()
        status: Status = "timeout" if overdue else "failed"
        for workload in lost[: len(lost) - len(behind)]:
            yield self._lost(arm_run, workload, status, reason)
            status, reason = "failed", f"its process had ended before: {reason}"
        return behind

    def _lost(self, arm_run: ArmRun, workload: WorkloadSpec, status: Status, reason: str) -> Observation:
        finished = Finished(workload.name, status, [reason], Outcome())
        return _observe(arm_run, workload, finished, None)


def _drop_if_long(path: str) -> None:
    """Remove the output of an arm that went well, unless it is short."""
    if not 0 < os.path.getsize(path) <= KEPT_LOG_BYTES:
        os.unlink(path)


def _noted(observation: Observation, note: str) -> Observation:
    """Return an observation with something to know about it."""
    if not note:
        return observation
    return msgspec.structs.replace(observation, reasons=[*observation.reasons, note])


def _spoilt(observation: Observation, reason: str) -> Observation:
    """Return an observation whose process ended badly afterwards: its numbers do not count."""
    return msgspec.structs.replace(
        observation,
        status="failed",
        reasons=[*observation.reasons, reason],
        metrics={},
        missing={},
        histograms={},
    )


def _job(arm_run: ArmRun, *, profiled: bool) -> Job:
    arm = arm_run.arm
    cells = [CellJob(w.name, w.kind, w.params) for w in arm_run.workloads]
    return Job(arm.name, arm.stack, arm.mode, resolve_loop(arm.loop), arm.settings, cells, profiled)


def _observe(
    arm_run: ArmRun, workload: WorkloadSpec, finished: Finished, sampled: Sampled | None
) -> Observation:
    arm, outcome = arm_run.arm, finished.outcome
    status, reasons, metrics = finished.status, finished.reasons, {}
    if sampled is not None and status == "ok":
        try:
            metrics = derive(sampled, outcome)
        except ValueError as error:
            status, reasons = "failed", [str(error)]
    return Observation(
        block=arm_run.block,
        order=arm_run.order,
        arm=arm.name,
        stack=arm.stack,
        loop=resolve_loop(arm.loop),
        mode=arm.mode,
        workload=workload.name,
        kind=workload.kind,
        params={**workload.params, **arm.settings},
        status=status,
        reasons=reasons,
        elapsed_s=0.0 if sampled is None else sampled.elapsed_s,
        operations=outcome.operations,
        log_levels={} if sampled is None else sampled.log_levels,
        metrics=metrics,
        missing={name: reason for name, reason in outcome.missing.items() if name in metrics},
        texts=outcome.texts,
        histograms=outcome.histograms,
        attempt=arm_run.attempt,
    )
