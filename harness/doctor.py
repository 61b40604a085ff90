"""``fedbench doctor``: what process mode needs of this machine, and what killed runs have left."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING

from fedbench.loop import resolve_loop
from fedbench.tensors import segments
from harness.gate.outcome import ExitCode

if TYPE_CHECKING:
    from rich.console import Console


def examine(console: Console, *, clean: bool) -> ExitCode:
    """Print what was found.

    Args:
        console: Where to.
        clean: Remove the segments whose owner is gone; those of running federations stay.

    Returns:
        0, or 1 if there is something that ``--clean`` would remove.
    """

    def line(name: str, value: str) -> None:
        console.print(f"{name:<18}{value}", markup=False, highlight=False, soft_wrap=True)

    free, total = segments.room()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    line("python", f"{platform.python_version()}, loop {resolve_loop('auto')}, {os.cpu_count()} cores")
    line("shared memory", f"{_mib(free)} of {_mib(total)} free in {segments.FOLDER}")
    line("open files", f"{soft} of at most {hard}; a federation of processes raises it by itself")
    found = segments.leftovers()
    swept = set(segments.sweep()) if clean else set()
    for leftover in found:
        state = "removed" if leftover.name in swept else "left behind"
        line(state, f"{leftover.name} ({_mib(leftover.nbytes)}) of process {leftover.pid}, which is gone")
    if not found:
        line("leftovers", "none")
        return ExitCode.OK
    if clean:
        return ExitCode.OK
    nbytes = sum(leftover.nbytes for leftover in found)
    line("leftovers", f"{len(found)} segments, {_mib(nbytes)}: remove them with fedbench doctor --clean")
    return ExitCode.FAILED


def _mib(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):.1f} MiB"
