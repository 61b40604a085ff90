"""One worker process as the measuring side sees it: two pipes, the probes on it, and its limits."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.probes.accounting import CpuAccount
from harness.run.ending import end
from harness.run.plan import limit_s
from harness.run.probing import Probing
from harness.run.protocol import (
    GO,
    Begin,
    Cell,
    End,
    Event,
    Finished,
    Hold,
    Job,
    Sample,
    encode,
    event_decoder,
)
from harness.run.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.probes.lognoise import LogCapture
    from harness.records.derive import Sampled
    from harness.run.profiling import Recording
    from harness.suite import WorkloadSpec

EDGE_S = 30.0
"""How long a worker may take to start, and to end."""
PINS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
DISTORTING = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC")


class WorkerTimeout(Exception):
    """The worker took too long."""


class CellTimeout(WorkerTimeout):
    """One of its workloads took longer than its timeout."""


class _Deadline:
    """When a worker has taken too long.

    Args:
        limit_s: Seconds from now.
        of_cell: Whether it is the timeout of a workload, not of what is around workloads.
    """

    def __init__(self, limit_s: float, *, of_cell: bool = False) -> None:
        self._limit_s = limit_s
        self._of_cell = of_cell
        self._end_s = time.monotonic() + limit_s

    def left_s(self) -> float:
        """Return the seconds that are left, 0 when it has passed."""
        return max(self._end_s - time.monotonic(), 0.0)

    def error(self) -> WorkerTimeout:
        """Return what to raise when it has passed."""
        if self._of_cell:
            return CellTimeout(f"it was not done within its timeout of {self._limit_s:.3g} s")
        return WorkerTimeout("the worker gave no sign within its time limit")


class WorkerProcess:
    """One worker process, its two pipes and the probes on it.

    What goes wrong while it is made, an interrupt too, leaves no process and no folder.

    Args:
        job: What it has to do.
        capture: Where its output goes.
        profile: Begins to profile the process with this id, None for no profile.
    """

    def __init__(
        self, job: Job, capture: LogCapture, profile: Callable[[int], Recording | None] | None
    ) -> None:
        self._profile = profile
        self._recording: Recording | None = None
        self._capture = capture
        self._buffer = b""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            command_read, self._command_fd = os.pipe()
            theirs.callback(os.close, command_read)
            undo.callback(os.close, self._command_fd)
            self._event_fd, event_write = os.pipe()
            theirs.callback(os.close, event_write)
            undo.callback(os.close, self._event_fd)
            # The socket of a fork server lies in a folder that only a process that ends by itself removes.
            self._scratch = Scratch()
            undo.callback(self._scratch.cleanup)
            self._account = CpuAccount.open()
            if self._account is not None:
                undo.callback(self._account.close)
            arguments = (command_read, event_write, os.getpid())
            self._process = subprocess.Popen(
                # -P: the code that is installed, not what happens to lie in the current folder
                [sys.executable, "-P", "-m", "harness.run.worker", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=capture.fileno(),
                stderr=capture.fileno(),
                pass_fds=(command_read, event_write),
                start_new_session=True,
                env=_environment() | {"TMPDIR": self._scratch.name},
            )
            undo.callback(end, self._process, ())
            theirs.close()
            # It has no children before it has its job, so that all that it starts is in its group.
            counted = self._account is not None and self._account.add(self._process.pid)
            self._probing = Probing(self._process.pid, capture, self._account if counted else None)
            self._answer(encode(job))
            undo.pop_all()  # from here on, it is for kill to undo

    def cells(
        self, on_cell: Callable[[str], None], workloads: dict[str, WorkloadSpec]
    ) -> Iterator[tuple[Finished, Sampled]]:
        """Serve the worker until it ends, and yield each workload with what was sampled.

        Raises:
            CellTimeout: A workload took longer than its timeout.
            WorkerTimeout: It took too long between workloads.
        """
        deadline = _Deadline(EDGE_S)
        while (event := self._next(deadline)) is not None:
            if isinstance(event, Cell):
                deadline = _Deadline(limit_s(workloads[event.workload]), of_cell=True)
                self._begin_profile()
                on_cell(event.workload)
            elif isinstance(event, Finished):
                deadline = _Deadline(EDGE_S)
                yield event, self._probing.take()
            else:
                self._serve(event, deadline)
                self._answer(GO)

    def wait(self) -> None:
        """Wait for a worker that has closed its pipe to end."""
        try:
            self._process.wait(EDGE_S)
        except subprocess.TimeoutExpired:
            raise WorkerTimeout("the worker closed its pipe and did not end") from None

    def ended_badly(self) -> bool:
        """Whether the process has ended with anything but exit code 0."""
        return self._process.returncode != 0

    def epitaph(self) -> str:
        """Return how the worker ended and the last line it wrote."""
        lines = Path(self._capture.path).read_text(errors="replace").strip().splitlines()
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the worker ended with {how}: {lines[-1] if lines else 'it wrote nothing'}"

    def kill(self) -> None:
        """End the worker and everything it started, and remove what they would leave behind; idempotent."""
        end(self._process, self._probing.seen)
        if self._account is not None:
            self._account.close()
        self._scratch.cleanup()
        for fd in (self._command_fd, self._event_fd):
            if fd >= 0:
                os.close(fd)
        self._command_fd = self._event_fd = -1
        self._probing.stop()
        if self._recording is not None:
            self._recording.finish()
            self._recording = None

    def _begin_profile(self) -> None:
        """Begin once the first workload does: py-spy needs an interpreter that is up."""
        if self._profile is not None:
            self._recording, self._profile = self._profile(self._process.pid), None
            if self._recording is not None:
                self._probing.leave_aside(self._recording.pid)

    def _serve(self, event: Event, deadline: _Deadline) -> None:
        if isinstance(event, Begin):
            self._probing.begin(memory=event.memory, densely=event.densely)
        elif isinstance(event, Hold):
            time.sleep(min(event.seconds, deadline.left_s()))
        elif isinstance(event, Sample):
            self._probing.sample()
        elif isinstance(event, End):
            self._probing.end()

    def _answer(self, line: bytes) -> None:
        # A worker that is gone is noticed by the end of the event pipe; why it went is in its log.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._command_fd, line)

    def _next(self, deadline: _Deadline) -> Event | None:
        """Return the worker's next message, None when it has closed its pipe."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._event_fd, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left_s = deadline.left_s()
                if left_s <= 0 or not selector.select(left_s):
                    raise deadline.error()
                chunk = os.read(self._event_fd, 1 << 16)
                if not chunk:
                    return None
                self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return event_decoder.decode(line)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in DISTORTING} | PINS
