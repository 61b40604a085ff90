"""``fedbench doctor``: who uses this machine, what process mode needs of it, what killed runs have left."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING

from fedbench.loop import resolve_loop
from fedbench.tensors import segments
from harness.acceptance.outcome import ExitCode
from harness.probes.cpustat import usable_cores
from harness.probes.disturbance import watch
from harness.records.cgroup import groups_of, narrowest_quota
from harness.run import scratch

if TYPE_CHECKING:
    from rich.console import Console


def examine(console: Console, *, clean: bool) -> ExitCode:
    """Print what was found.

    Args:
        console: Where to.
        clean: Remove the segments and folders whose owner is gone; those of what is running stay.

    Returns:
        0, or 1 if there is something that ``--clean`` would remove.
    """

    def line(name: str, value: str) -> None:
        console.print(f"{name:<18}{value}", markup=False, highlight=False, soft_wrap=True)

    free, total = segments.room()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    line("python", f"{platform.python_version()}, loop {resolve_loop('auto')}, {os.cpu_count()} cores")
    line("other programs", _neighbours())
    quota = narrowest_quota(groups_of("self", "cpu"))
    line("CPU quota", f"{quota.cores:g} cores, of {quota.group}" if quota else "none")
    line("shared memory", f"{_mib(free)} of {_mib(total)} free in {segments.FOLDER}")
    line("open files", f"{soft} of at most {hard}; a federation of processes raises it by itself")
    found, folders = segments.leftovers(), scratch.abandoned()
    swept = {*segments.sweep(), *map(str, scratch.sweep())} if clean else set()
    told = [
        *((each.name, each.nbytes, f"of process {each.pid}, which is gone") for each in found),
        *((str(each.path), each.nbytes, "of a run that was killed") for each in folders),
    ]
    for name, nbytes, whose in told:
        line("removed" if name in swept else "left behind", f"{name} ({_mib(nbytes)}) {whose}")
    if not told:
        line("leftovers", "none")
        return ExitCode.OK
    if clean:
        return ExitCode.OK
    what = f"{_counted(len(found), 'segment')} and {_counted(len(folders), 'folder')}"
    size = _mib(sum(nbytes for _, nbytes, _ in told))
    line("leftovers", f"{what}, {size}: remove them with fedbench doctor --clean")
    return ExitCode.FAILED


def _neighbours() -> str:
    found, cores = watch(), len(usable_cores())
    who = f": {', '.join(found.culprits)}" if found.culprits else ""
    return f"use {found.others_cores or 0.0:.2f} of {_counted(cores, 'usable core')}{who}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _mib(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):.1f} MiB"
