"""The measured process: runs one job and ends. Started by the executor, never by hand."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from fedbench.childlog import LineFormatter
from fedbench.loop import LoopName, run
from harness.probes.lognoise import CONTINUATION, FORMAT
from harness.records.derive import Outcome
from harness.run.protocol import Cell, CellJob, Finished, Job, job_decoder
from harness.run.session import ParentGone, RecordCounter, WorkerSession
from harness.stacks.base import Unsupported
from harness.stacks.registry import create_stack
from harness.workloads.registry import create_workload

if TYPE_CHECKING:
    from harness.records.schema import Status

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = 2**64 - 1
ELSEWHERE = "the loggers of the clients' processes are out of reach"
"""Why the records of root loggers are not counted where clients are processes."""


def main(command_fd: int, event_fd: int) -> None:
    """Read a job from one pipe, do it, and report on the other."""
    counter = RecordCounter()
    stream = logging.StreamHandler()
    stream.setFormatter(LineFormatter(FORMAT, CONTINUATION))
    logging.basicConfig(level=logging.INFO, handlers=[stream, counter])
    with os.fdopen(command_fd, "rb", buffering=0) as commands:
        job = job_decoder.decode(commands.readline())
        if job.profiled:
            _let_profile()
        loop: LoopName = "uvloop" if job.loop == "uvloop" else "asyncio"
        run(_work(job, commands, event_fd, counter), loop)


async def _work(job: Job, commands: object, event_fd: int, counter: RecordCounter) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), commands)
    try:
        for cell in job.cells:
            session = WorkerSession(reader, event_fd, counter)
            session.tell(Cell(cell.workload))
            session.tell(await _measure(job, cell, session))
    finally:
        transport.close()


async def _measure(job: Job, cell: CellJob, session: WorkerSession) -> Finished:
    status: Status = "ok"
    outcome, reasons = Outcome(), []
    try:
        stack = create_stack(job.stack, job.mode, job.settings)
        outcome = await create_workload(cell.kind, cell.params).run(stack, session)
        outcome.logged = session.logged
        outcome.pauses_ns = session.pauses.durations_ns
        if job.mode != "memory":
            outcome.missing = {"logger_records_per_op": ELSEWHERE} | outcome.missing
        _check_finite(outcome)
    except Unsupported as error:
        status, reasons = "unsupported", [str(error)]
    except ParentGone:
        raise
    except Exception as error:
        logging.getLogger("harness.worker").exception("%s under %s failed", job.arm, cell.workload)
        status, reasons = "failed", [f"{type(error).__name__}: {error}"]
    if outcome.wrong:
        status, reasons = "failed", outcome.wrong[:5]
    return Finished(cell.workload, status, reasons, outcome)


def _check_finite(outcome: Outcome) -> None:
    strange = {name: value for name, value in outcome.values.items() if not math.isfinite(value)}
    if strange:
        raise ValueError(f"values are not finite: {strange}")


def _die_with_parent(parent_pid: int) -> None:
    """Have the kernel end this process with its parent, so that nothing is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the measuring process is gone")


def _keep_orphans() -> None:
    """Have processes whose parent ends fall to this one, so that they stay in the tree that is measured."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _let_profile() -> None:
    """Let a profiler that is no ancestor look into this process, where the kernel asks who it is (Yama)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PTRACER, ctypes.c_ulong(PR_SET_PTRACER_ANY))


if __name__ == "__main__":
    _die_with_parent(int(sys.argv[3]))
    _keep_orphans()
    main(int(sys.argv[1]), int(sys.argv[2]))
