"""CPU time of other processes, in ns, read from outside."""

from __future__ import annotations

import time

from harness.probes.counter import TreeCounter


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


class CpuProbe:
    """CPU time of a process tree between `start` and `stop`.

    A process that ends in between counts up to the last `sample` before it was reaped, one that is born in
    between counts whole.
    """

    def __init__(self, root_pid: int) -> None:
        self._counter = TreeCounter(root_pid, _counters)

    def start(self) -> None:
        """Count from now; ProcessLookupError when the root is gone."""
        self._counter.start()

    def sample(self) -> float:
        """Return the CPU time since `start` in seconds, and remember who exists."""
        return self._counter.sample() / 1e9

    def stop(self) -> float:
        """Take the last sample and return the CPU time since `start` in seconds."""
        return self.sample()


def _counters(pid: int) -> dict[int, int]:
    used_ns = cpu_ns(pid)
    return {} if used_ns is None else {pid: used_ns}
