"""The probes on one worker, between begin and end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.probes.cpu import CpuProbe
from harness.probes.disturbance import DisturbanceProbe
from harness.probes.memory import (
    DENSE_SHARE,
    SAMPLER_SHARE,
    Headline,
    MemorySampler,
    headline,
    larger,
    reset_high_water,
    tree_memory,
)
from harness.probes.tree import process_tree
from harness.probes.wakeups import WakeupProbe
from harness.records.derive import Sampled

if TYPE_CHECKING:
    from harness.probes.accounting import CpuAccount
    from harness.probes.lognoise import LogCapture

CAME_AND_WENT = "a process that ended within the window took its counts along"
"""Why wake-ups are not known: the kernel counts them for threads that are there."""


class Probing:
    """Samples a process tree from outside.

    Args:
        root_pid: Root of the tree.
        capture: Where the tree's output goes.
        account: The control group of its processes, None where there is none.

    Attributes:
        seen: Processes that were in the tree at a begin or an end.
    """

    def __init__(self, root_pid: int, capture: LogCapture, account: CpuAccount | None = None) -> None:
        self._root_pid = root_pid
        self._capture = capture
        self._cpu = CpuProbe(root_pid, account)
        self._wakeups = WakeupProbe(root_pid)
        self._disturbance = DisturbanceProbe(root_pid)
        self._memory: MemorySampler | None = None
        self._held = Headline(0, 0, 0, 0, "")
        self._high_water = False
        self._mark = 0
        self._start_ns = self._start_busy_ns = 0
        self._sampled = Sampled()
        self._cost_s = self._watched_s = 0.0
        self.seen: set[int] = set()

    def leave_aside(self, pid: int) -> None:
        """Have a process that is no part of the tree, a profiler, not counted as a disturbance either."""
        self._disturbance.leave_aside(pid)

    def begin(self, *, memory: bool, densely: bool = False) -> None:
        """Count from now; see :meth:`harness.workloads.base.Session.measured`."""
        self._sampled = Sampled()
        self.seen.update(process_tree(self._root_pid))
        if memory:
            pids = process_tree(self._root_pid)
            self._held = headline(pids)
            self._sampled.memory_start_bytes = self._held.total_bytes
            self._high_water = reset_high_water(pids)  # an arm's process has run other workloads before
            sampler = MemorySampler(self._root_pid, most_share=DENSE_SHARE if densely else SAMPLER_SHARE)
            sampler.start()
            self._memory = sampler
        self._disturbance.begin()
        self._mark = self._capture.mark()
        self._wakeups.start()
        self._cpu.start()
        self._start_busy_ns = time.process_time_ns()
        self._start_ns = time.monotonic_ns()

    def sample(self) -> None:
        """Take the peak that the worker holds now."""
        self._held = larger(self._held, headline(process_tree(self._root_pid)))

    def end(self) -> None:
        """Stop counting."""
        sampled = self._sampled
        sampled.elapsed_s = (time.monotonic_ns() - self._start_ns) / 1e9
        self._watched_s += sampled.elapsed_s
        self._cost_s += (time.process_time_ns() - self._start_busy_ns) / 1e9
        sampled.cpu_s = self._cpu.stop()
        sampled.wakeups = self._wakeups.stop()
        if self._cpu.missing:
            sampled.missing["cpu"] = self._cpu.missing
        if self._cpu.came_and_went:
            sampled.missing["wakeups"] = CAME_AND_WENT
        if self._memory is not None:
            sampler, self._memory = self._memory, None
            peak = larger(self._held, sampler.stop())
            sampled.memory_peak_bytes = peak.total_bytes
            sampled.memory_file_bytes, sampled.memory_queued_bytes = peak.file_bytes, peak.queued_bytes
            if peak.missing:
                sampled.missing["queues"] = peak.missing
            if self._high_water:
                sampled.memory_hwm_bytes = tree_memory(process_tree(self._root_pid)).vm_hwm_bytes
        self.seen.update(process_tree(self._root_pid))
        counts = self._capture.count(self._mark)
        sampled.log_records = counts.records
        sampled.log_levels = counts.by_level
        sampled.log_warnings = counts.warnings + counts.errors
        sampled.log_bytes = counts.bytes
        self._disturbance.end()  # last, for it takes milliseconds, and a poller goes on writing

    def take(self) -> Sampled:
        """Return what was sampled; the next begin starts anew, even if no end came."""
        self.stop()
        sampled, self._sampled = self._sampled, Sampled()
        sampled.probe_cpu_s, sampled.probe_s = self._cost_s, self._watched_s
        self._cost_s = self._watched_s = 0.0
        sampled.disturbance = self._disturbance.take()
        return sampled

    def stop(self) -> None:
        """Stop a sampler that is still running; idempotent."""
        if self._memory is not None:
            sampler, self._memory = self._memory, None
            sampler.stop()
