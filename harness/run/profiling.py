"""Flame graphs of workers: py-spy attached from outside, one SVG for each arm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.plan import ArmRun

PROFILES = "profiles"
BLOCK = 1
"""Only its workers are profiled: one picture of an arm is enough, and py-spy slows it down."""
RATE_PER_S = 200
GRACE_S = 10.0
"""How long py-spy may take to draw what it has sampled."""
NOTHING_LEFT = f"not profiled: no worker of block {BLOCK} was run, and no other is profiled"
NOT_COMPARABLE = "profiled: the numbers are not comparable with those of other runs, nor fit for a baseline"


class Profiler:
    """Attaches py-spy to the workers of the first block.

    Args:
        folder: The run's folder.

    Attributes:
        notes: What could not be profiled, and why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / PROFILES
        beside = os.path.dirname(sys.executable)
        self._program = shutil.which("py-spy", path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
        self.notes: list[str] = []
        self._recordings: list[Recording] = []
        if self._program is None:
            self.notes.append("not profiled: py-spy is not installed; `pip install py-spy`")

    @property
    def attached(self) -> bool:
        """Whether it has looked into any worker."""
        return any(recording.attached for recording in self._recordings)

    def looks_into(self, arm_run: ArmRun) -> bool:
        """Return whether it would look into a worker."""
        return self._program is not None and arm_run.block == BLOCK

    def attach(self, arm_run: ArmRun, pid: int) -> Recording | None:
        """Profile a worker, with every process below it, until it ends.

        Args:
            arm_run: What it runs.
            pid: The worker.

        Returns:
            What is to be finished when the worker has ended; None where it is not profiled.
        """
        if self._program is None or not self.looks_into(arm_run):
            return None
        self._folder.mkdir(exist_ok=True)
        path = _free(self._folder, arm_run.arm.name)
        process = subprocess.Popen(
            [
                *(self._program, "record", "--pid", str(pid), "--subprocesses", "--rate", str(RATE_PER_S)),
                *("--format", "flamegraph", "--output", path.name),  # it is the title of the picture
            ],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run, which ends this one itself
        )
        self._recordings.append(Recording(process, path, self.notes))
        return self._recordings[-1]


class Recording:
    """One worker that is being profiled.

    Args:
        process: py-spy.
        path: Where the flame graph goes.
        notes: Where it is told if there is none.

    Attributes:
        attached: Whether py-spy looks, or has looked, into the worker.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: Path, notes: list[str]) -> None:
        self._process = process
        self._path = path
        self._notes = notes
        self.attached = True

    @property
    def pid(self) -> int:
        """The process id of py-spy."""
        return self._process.pid

    def finish(self) -> None:
        """Wait until py-spy has drawn what it has sampled; call it once the worker has ended."""
        said, by_itself = b"", True
        for number in (0, signal.SIGINT, signal.SIGKILL):
            if number:
                by_itself = False
                self._process.send_signal(number)
            try:
                said = self._process.communicate(timeout=GRACE_S)[1]
                break
            except subprocess.TimeoutExpired:
                continue
        if not self._path.exists():
            self.attached = not by_itself  # what ends by itself and draws nothing could not begin
            self._notes.append(
                f"{self._path.stem} was not profiled: {_explain(said.decode(errors='replace'))}"
            )


def _explain(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "ermission" in said or "not permitted" in said:
        return "py-spy may not look into processes here; be root, or set kernel.yama.ptrace_scope to 0"
    return f"py-spy said {lines[-1]!r}" if lines else "py-spy said nothing"


def _free(folder: Path, name: str) -> Path:
    """Return a path that is not taken: an arm may have several workers in a block."""
    path, number = folder / f"{name}.svg", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.svg"
    return path
