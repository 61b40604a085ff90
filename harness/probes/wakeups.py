"""How often other processes were woken up, read from outside.

A thread that sleeps gives up its core voluntarily, so it was woken up as often as the kernel counts voluntary
context switches for it. The kernel counts per thread: what it shows for a process is the leader's share only.
"""

from __future__ import annotations

import re

from harness.probes.counter import TreeCounter
from harness.probes.procfs import read_bytes, thread_ids

_VOLUNTARY = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)


def voluntary_switches(pid: int) -> dict[int, int]:
    """Return the voluntary context switches of each living thread of a process since that thread's birth.

    Returns:
        Counts by thread id; empty when the process is gone.
    """
    counts = {}
    for thread in thread_ids(pid):
        match = _VOLUNTARY.search(read_bytes(f"/proc/{pid}/task/{thread}/status") or b"")
        if match:
            counts[thread] = int(match[1])
    return counts


class WakeupProbe:
    """Wake-ups of all threads of a process tree between `start` and `stop`.

    A thread that ends in between counts up to the last `sample` before its end, one that is born in between
    counts whole.
    """

    def __init__(self, root_pid: int) -> None:
        self._counter = TreeCounter(root_pid, voluntary_switches)

    def start(self) -> None:
        """Count from now; ProcessLookupError when the root is gone."""
        self._counter.start()

    def sample(self) -> int:
        """Return the number of wake-ups since `start`, and remember who exists."""
        return self._counter.sample()

    def stop(self) -> int:
        """Take the last sample and return the number of wake-ups since `start`."""
        return self.sample()
