"""All processes of a machine and what each has used: who else runs beside what is measured.

Theory of operation: the CPU clock of a process is exact but for the tick in which it runs now (1 to 10 ms),
may be read for any process, and is gone with it. So the children that a process has waited for are counted
with it (``cutime`` and ``cstime`` of its ``stat``), less what they had used when the first look was taken:
what a compiler uses is seen at ``make``. What remains hidden is in ``/proc/stat`` alone: processes of other
containers, and those that ended and whose parent waits for nobody.

Which processes are the measured tree is told by parent links, by the session (a worker begins one of its
own, so an orphan is still known by it), and by having belonged to it before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from harness.probes.cpu import cpu_ns
from harness.probes.cpustat import TICK_S
from harness.probes.procfs import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of include/linux/sched.h
_TICK_NS = round(TICK_S * 1e9)


class Process(NamedTuple):
    """One process at one moment.

    Attributes:
        name: What the kernel calls it (``comm``); arguments are left out, since they may hold secrets.
        parent: Its parent's id.
        session: Its session's id.
        kernel: Whether it is a thread of the kernel.
        core: The core that its first thread ran on last.
        started: When it began, in ticks since boot: tells it from another one of the same id.
        own_ns: CPU time of its threads, in ns.
        reaped_ns: CPU time of its children that ended and that it has waited for, in ns.
    """

    name: str
    parent: int
    session: int
    kernel: bool
    core: int
    started: int
    own_ns: int
    reaped_ns: int


Snapshot = dict[int, Process]
"""Processes by id."""


def snapshot(proc: str = "/proc", clock: Callable[[int], int | None] = cpu_ns) -> Snapshot:
    """Return all processes that can be seen. It takes about 30 µs for each."""
    found: Snapshot = {}
    for name in os.listdir(proc):
        if name.isdecimal():
            process = _process(int(name), proc, clock)
            if process is not None:
                found[int(name)] = process
    return found


def members(
    now: Snapshot, root_pid: int, before: Snapshot | None = None, known: Collection[int] = ()
) -> set[int]:
    """Return which processes belong to a tree.

    Args:
        now: All processes.
        root_pid: Root of the tree.
        before: An earlier look.
        known: Who belonged to the tree then.
    """
    was = before or {}
    found = {pid for pid in known if pid in now and pid in was and _same(was[pid], now[pid])}
    found |= {pid for pid, process in now.items() if process.session == root_pid}
    if root_pid in now:
        found.add(root_pid)
    below: dict[int, list[int]] = {}
    for pid, process in now.items():
        below.setdefault(process.parent, []).append(pid)
    pending = list(found)
    for pid in pending:
        fresh = [child for child in below.get(pid, ()) if child not in found]
        found.update(fresh)
        pending += fresh
    return found


def gains_ns(before: Snapshot, after: Snapshot) -> dict[int, int]:
    """Return the CPU time that each process of the later look has used since the earlier one, in ns.

    Its children that ended in between are in it, where it has waited for them. Who is new counts since its
    birth.
    """
    counted_ns = _counted_of_the_dead(before, after)
    gains = {}
    for pid, now in after.items():
        was = before.get(pid)
        if was is None or not _same(was, now):
            gains[pid] = now.own_ns + now.reaped_ns
            continue
        reaped_ns = now.reaped_ns - was.reaped_ns - counted_ns.get(pid, 0)
        gains[pid] = max(now.own_ns - was.own_ns, 0) + max(reaped_ns, 0)
    return gains


def _counted_of_the_dead(before: Snapshot, after: Snapshot) -> dict[int, int]:
    """Return what those who are gone had used at the earlier look, by the nearest ancestor that lives."""
    living: Mapping[int, bool] = {pid: pid in after and _same(was, after[pid]) for pid, was in before.items()}
    counted: dict[int, int] = {}
    for pid, was in before.items():
        if living[pid]:
            continue
        heir = was.parent
        while heir in before and not living[heir]:
            heir = before[heir].parent
        counted[heir] = counted.get(heir, 0) + was.own_ns + was.reaped_ns
    return counted


def _same(one: Process, other: Process) -> bool:
    return one.started == other.started


def _process(pid: int, proc: str, clock: Callable[[int], int | None]) -> Process | None:
    try:
        stat = read_bytes(f"{proc}/{pid}/stat")
    except PermissionError:  # /proc is mounted with hidepid=1: it counts as one that cannot be seen
        return None
    own_ns = clock(pid)
    if stat is None or own_ns is None:
        return None
    head, _, tail = stat.rpartition(b")")  # a name may hold anything, parentheses too
    fields = tail.split()
    if len(fields) < 37:
        return None
    return Process(
        name=head.partition(b"(")[2].decode(errors="replace"),
        parent=int(fields[1]),
        session=int(fields[3]),
        kernel=bool(int(fields[6]) & _KERNEL_THREAD),
        core=int(fields[36]),
        started=int(fields[19]),
        own_ns=own_ns,
        reaped_ns=(int(fields[13]) + int(fields[14])) * _TICK_NS,
    )
