"""What others did to a process tree while it was measured, and before a run began."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from harness.probes.counter import TreeCounter
from harness.probes.cpustat import TICK_S, CpuTimes, cpu_times, frequency_hz, usable_cores
from harness.probes.neighbours import Snapshot, gains_ns, members, snapshot
from harness.probes.procfs import read_bytes, thread_ids
from harness.records.cgroup import groups_of, throttled_s
from harness.records.disturbance import Counted, disturbance_of, summed

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from harness.records.schema import Disturbance

WATCH_S = 0.5
"""How long the machine is looked at before a run: fifty ticks a core, and nobody minds the wait."""


_INIT = 1


class _Look(NamedTuple):
    """Everything at one moment.

    Reading takes milliseconds, and a quota or a neighbour may stop it in the middle. So the first look reads
    the processes first and the sums of the machine last, and the second the other way round: what the
    machine did then lies within the time for which its processes are known, and nothing seems hidden.
    """

    at_ns: int
    processes: Snapshot
    times: CpuTimes | None
    throttled_s: dict[Path, float | None]


class DisturbanceProbe:
    """Looks at all processes when it is made, at each `begin`, `end` and `take`, and at nothing in between.

    Each look takes about 30 µs a process, so it belongs before and behind what is timed. Several intervals
    count as one until `take`. Not safe for use by several threads at once.

    Args:
        root_pid: Root of the measured tree; None where nothing is measured, and everybody but this process
            is another.
    """

    def __init__(self, root_pid: int | None) -> None:
        self._root_pid = root_pid
        self._cores = usable_cores()
        self._groups = groups_of("self" if root_pid is None else root_pid, "cpu")
        self._aside: set[int] = {os.getpid()}
        self._wait: TreeCounter | None = None
        self._begun: _Look | None = None
        self._counted: Counted | None = None
        self._around: Counted | None = None
        self._opened = self._first_look()

    def leave_aside(self, pid: int) -> None:
        """Count a process, such as a profiler, neither with the tree nor with others."""
        self._aside.add(pid)

    def begin(self) -> None:
        """Count from now. An interval that was begun and not ended is forgotten."""
        self._wait = _run_delays(self._root_pid)
        self._begun = self._first_look()

    def end(self) -> None:
        """Count up to now; without a `begin`, nothing."""
        before, self._begun = self._begun, None
        if before is None:
            return
        times, throttled = cpu_times(self._cores), self._throttled()
        wait_s = self._wait.sample() / 1e9 if self._wait is not None else None
        processes = snapshot()
        after = _Look(time.monotonic_ns(), processes, times, throttled)
        counted = self._between(before, after, wait_s)
        self._counted = counted if self._counted is None else summed(self._counted, counted)
        self._around = self._between(self._opened, after, None)

    def take(self) -> Disturbance | None:
        """Return what happened in all intervals since the last `take`, None where there was none."""
        counted, around = self._counted, self._around
        self._counted = self._around = None
        self._opened = self._first_look()
        return None if counted is None else disturbance_of(counted, around)

    def _first_look(self) -> _Look:
        return _Look(time.monotonic_ns(), snapshot(), cpu_times(self._cores), self._throttled())

    def _throttled(self) -> dict[Path, float | None]:
        return {group: throttled_s(group) for group in self._groups}

    def _tree(self, before: Snapshot, after: Snapshot) -> set[int]:
        """Return who belongs to the measured tree, or has its CPU time now."""
        if self._root_pid is None:
            return set()
        known = members(before, self._root_pid)
        tree = members(after, self._root_pid, before, known)
        if any(pid not in after and before[pid].parent not in after for pid in known):
            tree.add(_INIT)  # it may have waited for an orphan, and have its time
        return tree

    def _between(self, before: _Look, after: _Look, wait_s: float | None) -> Counted:
        gains = gains_ns(before.processes, after.processes)
        own = self._aside | self._tree(before.processes, after.processes)
        kernel_ns, others_s = 0, dict[str, float]()
        for pid, gained_ns in gains.items():
            process = after.processes[pid]
            if process.kernel:
                kernel_ns += gained_ns
            elif pid not in own and gained_ns and process.core in self._cores:
                others_s[f"{process.name} ({pid})"] = gained_ns / 1e9
        by, throttled = _most_throttled(before.throttled_s, after.throttled_s)
        busy_s, steal_s = _times_between(before.times, after.times)
        return Counted(
            interval_s=(after.at_ns - before.at_ns) / 1e9,
            cores=len(self._cores),
            tick_s=TICK_S,
            busy_s=busy_s,
            steal_s=steal_s,
            own_s=_total_s(gains, own),
            kernel_s=kernel_ns / 1e9,
            others_s=others_s,
            wait_s=wait_s,
            throttled_s=throttled,
            throttled_by=by,
            frequency_hz=frequency_hz(self._cores),
        )


def watch(seconds: float = WATCH_S) -> Disturbance:
    """Look at the machine for a while during which this process does nothing."""
    probe = DisturbanceProbe(None)
    probe.begin()
    time.sleep(seconds)
    probe.end()
    found = probe.take()
    assert found is not None  # an interval has just ended
    return found


def run_delays(pid: int) -> dict[int, int]:
    """Return for how long each living thread of a process has waited for a core since its birth, in ns.

    From field 2 of ``schedstat`` (Documentation/scheduler/sched-stats.rst); empty where the process is gone
    or the kernel keeps no such file.

    Returns:
        Waits by thread id.
    """
    delays = {}
    for thread in thread_ids(pid):
        fields = (read_bytes(f"/proc/{pid}/task/{thread}/schedstat") or b"").split()
        if len(fields) >= 2:
            delays[thread] = int(fields[1])
    return delays


def _run_delays(root_pid: int | None) -> TreeCounter | None:
    """Return a counter that has begun, None where there is nothing to count."""
    if root_pid is None or not run_delays(root_pid):
        return None
    counter = TreeCounter(root_pid, run_delays)
    counter.start()
    return counter


def _most_throttled(
    before: dict[Path, float | None], after: dict[Path, float | None]
) -> tuple[str, float | None]:
    gains = {
        group: now - was
        for group, was in before.items()
        if was is not None and (now := after.get(group)) is not None
    }
    if not gains:
        return "", None
    group = max(gains, key=lambda each: gains[each])
    return str(group), max(gains[group], 0.0)


def _times_between(before: CpuTimes | None, after: CpuTimes | None) -> tuple[float | None, float | None]:
    if before is None or after is None:
        return None, None
    # Steal may be corrected downward by a few ticks.
    return after.busy_s - before.busy_s, max(after.steal_s - before.steal_s, 0.0)


def _total_s(gains: dict[int, int], pids: Collection[int]) -> float:
    return sum(gains.get(pid, 0) for pid in pids) / 1e9
