"""CPU time of other processes, in ns, read from outside.

Processes that come and go between two looks count. Where the worker has a control group of its own, the
kernel counts them (:mod:`harness.probes.accounting`). Elsewhere each process hands what it used to whoever
waits for it: the sum of each one's own time and that of the children it has waited for changes only by what
was used.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from harness.probes.procfs import read_bytes
from harness.probes.tree import process_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.probes.accounting import CpuAccount

NOT_WAITED_FOR = "a process ended whose parent did not wait for it, and took its CPU time along"
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CMINFLT, _CUTIME, _CSTIME = 8, 13, 14  # fields of /proc/<pid>/stat behind the name, proc_pid_stat(5)
_CORES = os.cpu_count() or 1


def cpu_ns(pid: int) -> int | None:
    """Return the CPU time that a process has used since its birth, in all its threads, also those that ended.

    Read from the process's CPU clock (``clock_getcpuclockid(3)``): user and system time in ns, where
    ``/proc/<pid>/stat`` has ticks of 10 ms. Its children are not in it. A zombie still has it.

    Returns:
        Nanoseconds, None when the process is gone.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:  # EINVAL: no such process; this clock has no other error
        return None


class WaitedFor(NamedTuple):
    """What all the descendants have used that a process has waited for.

    Attributes:
        cpu_ns: In ticks of 10 ms: too low by less than two of them, however many descendants there were.
        faults: Their minor page faults. Nobody lives without one, so that a gain tells of an end.
    """

    cpu_ns: int
    faults: int


def waited_for(pid: int) -> WaitedFor:
    """Return it for one process, nothing when that is gone."""
    stat = read_bytes(f"/proc/{pid}/stat")
    if not stat:
        return WaitedFor(0, 0)
    fields = stat[stat.rindex(b")") + 2 :].split()
    return WaitedFor((int(fields[_CUTIME]) + int(fields[_CSTIME])) * _TICK_NS, int(fields[_CMINFLT]))


class _Used(NamedTuple):
    """CPU time of one process in ns, and what the descendants have used that it has waited for."""

    own_ns: int
    waited_for: WaitedFor

    def all_ns(self) -> int:
        return self.own_ns + self.waited_for.cpu_ns


_NOTHING = _Used(0, WaitedFor(0, 0))


class CpuProbe:
    """CPU time of a process tree between `start` and `stop`, of all that lived in between.

    A process whose parent has died is followed to its own end.

    Args:
        root_pid: Root of the tree.
        account: The control group of all its processes, None where there is none.

    Attributes:
        missing: Why the CPU time of the last window is not known, empty where it is.
        came_and_went: Whether a process ended within the last window.
    """

    def __init__(self, root_pid: int, account: CpuAccount | None = None) -> None:
        self._root_pid = root_pid
        self._account = account
        self._before: dict[int, _Used] = {}
        self._account_ns = self._took_ns = 0
        self.missing = ""
        self.came_and_went = False

    def start(self) -> None:
        """Count from now; ProcessLookupError when the root is gone."""
        pids = process_tree(self._root_pid)
        if not pids:
            raise ProcessLookupError(f"process {self._root_pid}, the root of what is measured, is gone")
        self.missing, self.came_and_went = "", False
        start_ns = time.monotonic_ns()
        self._before = _used(pids)
        if self._account is not None:
            self._account_ns = self._account.used_ns()  # behind their clocks, which bring it up to date
        self._took_ns = time.monotonic_ns() - start_ns

    def stop(self) -> float:
        """Return the CPU time since `start` in seconds; see `missing`."""
        start_ns = time.monotonic_ns()
        after = _used(dict.fromkeys([*process_tree(self._root_pid), *self._before]))
        used_ns = 0 if self._account is None else self._account.used_ns() - self._account_ns
        tree_ns = sum(map(_Used.all_ns, after.values())) - sum(map(_Used.all_ns, self._before.values()))
        alive_ns = sum(used.own_ns - self._at_start(pid).own_ns for pid, used in after.items())
        waited_ns = sum(
            used.waited_for.cpu_ns - self._at_start(pid).waited_for.cpu_ns for pid, used in after.items()
        )
        gone_ns = sum(used.all_ns() for pid, used in self._before.items() if pid not in after)
        self.came_and_went = not self._before.keys() <= after.keys() or any(
            used.waited_for.faults > self._at_start(pid).waited_for.faults for pid, used in after.items()
        )
        if self._account is None:
            if waited_ns + 2 * _TICK_NS * len(after) < gone_ns:
                self.missing = NOT_WAITED_FOR
            return max(tree_ns, 0) / 1e9
        # Those alive cannot have used more than this since their clocks were read, here and at the start.
        skew_ns = (self._took_ns + time.monotonic_ns() - start_ns) * _CORES
        self.came_and_went = self.came_and_went or used_ns > alive_ns + skew_ns
        return used_ns / 1e9

    def _at_start(self, pid: int) -> _Used:
        return self._before.get(pid, _NOTHING)


def _used(pids: Iterable[int]) -> dict[int, _Used]:
    """Return what each process that exists has used."""
    return {pid: _Used(own_ns, waited_for(pid)) for pid in pids if (own_ns := cpu_ns(pid)) is not None}
