"""Memory of other processes, read from outside.

The headline is what would be free if they ended: their anonymous pages (``Pss_Anon``, those that a fork
shares divided among their users), each shared segment once (:mod:`harness.probes.sharedmemory`), and
what waits in pipes and sockets (:mod:`harness.probes.queues`). Pages of files stand beside it: they are the
kernel's cache, and how many count for whom depends on what other programs map.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from harness.probes.procfs import open_files, read_bytes
from harness.probes.queues import DENIED, Queues
from harness.probes.sharedmemory import SharedMemory
from harness.probes.tree import process_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SAMPLER_SHARE = 0.005
"""Share of a core that sampling memory may take."""
DENSE_SHARE = 0.1
"""The same where nothing but memory is measured."""

_PRIVATE = re.compile(rb"^Private_Dirty:\s+(\d+) kB$", re.MULTILINE)
_FIELD = re.compile(rb"^(Pss_Anon|Pss_File|Pss_Shmem|VmHWM):\s+(\d+) kB$", re.MULTILINE)


class Memory(NamedTuple):
    """Memory of one process, or the sum over several.

    Attributes:
        pss_anon_bytes: Anonymous pages, each divided by the number of its users.
        pss_file_bytes: Pages of files (libraries, mostly), likewise.
        pss_shmem_bytes: Pages of shared memory, likewise.
        vm_hwm_bytes: The highest resident size since birth, or since `reset_high_water`; shared pages count
            whole for each of their users.
    """

    pss_anon_bytes: int
    pss_file_bytes: int
    pss_shmem_bytes: int
    vm_hwm_bytes: int


def process_memory(pid: int) -> Memory | None:
    """Return the memory of one process, None when it is gone or a zombie."""
    rollup = read_bytes(f"/proc/{pid}/smaps_rollup")
    status = read_bytes(f"/proc/{pid}/status")
    if rollup is None or status is None:
        return None
    kib = {name: int(value) for name, value in _FIELD.findall(rollup + status)}
    # A process that dies between the two reads has no VmHWM left.
    return Memory(
        pss_anon_bytes=kib[b"Pss_Anon"] * 1024,
        pss_file_bytes=kib[b"Pss_File"] * 1024,
        pss_shmem_bytes=kib[b"Pss_Shmem"] * 1024,
        vm_hwm_bytes=kib.get(b"VmHWM", 0) * 1024,
    )


def reset_high_water(pids: Iterable[int]) -> bool:
    """Have the highest resident size of processes begin with what they hold now.

    Returns:
        Whether that was done for all that exist. It takes their user, or root, and a ``clear_refs`` in /proc.
    """
    done = True
    for pid in pids:
        try:
            with open(f"/proc/{pid}/clear_refs", "wb", buffering=0) as file:
                file.write(b"5")
        except OSError:
            done = done and not os.path.exists(f"/proc/{pid}")  # who has ended meanwhile needs none
    return done


def private_bytes(pid: int) -> int:
    """Return the memory that only one process uses (USS), 0 when it is gone or a zombie.

    Without clean pages of files, as the headline: whether one is private depends on what others map.
    """
    rollup = read_bytes(f"/proc/{pid}/smaps_rollup") or b""
    return sum(map(int, _PRIVATE.findall(rollup))) * 1024


def tree_memory(pids: Iterable[int]) -> Memory:
    """Return the sum of `process_memory` over those of the processes that still exist."""
    found = [memory for pid in pids if (memory := process_memory(pid)) is not None]
    return Memory(*(sum(column) for column in zip(*found, strict=True))) if found else Memory(0, 0, 0, 0)


class Headline(NamedTuple):
    """Memory of a federation, by what it is.

    Attributes:
        anon_bytes: Anonymous pages.
        shared_bytes: Segments of shared memory, each once.
        queued_bytes: What waits in pipes and sockets.
        file_bytes: Pages of files; not in the total.
        missing: Why ``queued_bytes`` is not all, empty where it is.
    """

    anon_bytes: int
    shared_bytes: int
    queued_bytes: int
    file_bytes: int
    missing: str

    @property
    def total_bytes(self) -> int:
        """The headline itself (see the module)."""
        return self.anon_bytes + self.shared_bytes + self.queued_bytes


def headline(pids: Collection[int]) -> Headline:
    """Return the memory of processes, and of the segments that they own even when they are gone."""
    shared, queues = SharedMemory(), Queues()
    anon_bytes = file_bytes = 0
    mapping = []
    for pid in pids:
        memory = process_memory(pid)
        if memory is None:
            continue
        anon_bytes += memory.pss_anon_bytes
        file_bytes += memory.pss_file_bytes
        if memory.pss_shmem_bytes:
            mapping.append(pid)
        files = open_files(pid)
        shared.add_open(files.values())
        queues.add(pid, files)
    for pid in mapping:  # behind all descriptors: most that is mapped is known by then
        shared.add_mapped(pid)
    shared.add_named(pids)
    return Headline(
        anon_bytes, shared.total_bytes(), queues.total_bytes(), file_bytes, DENIED if queues.denied else ""
    )


def larger(one: Headline, other: Headline) -> Headline:
    """Return that with the larger total."""
    return one if one.total_bytes >= other.total_bytes else other


def headline_bytes(pids: Collection[int]) -> int:
    """Return the headline (see the module) of a federation's processes and of the segments they own."""
    return headline(pids).total_bytes


class MemorySampler:
    """The peak headline of a process tree, sampled by a thread of the measuring process.

    Pages that come and go between two samples are missed; that is why `Memory` has ``vm_hwm_bytes``, too. A
    sample costs about 1 ms per process with 25 open files: the pauses grow with the tree, so that the thread
    never takes more than its share of a core. One use per object.

    Args:
        root_pid: Root of the tree.
        interval_s: Least pause between the end of a sample and the beginning of the next.
        most_share: Most of a core that it takes.

    Attributes:
        peak: The sample with the largest total so far.
    """

    def __init__(self, root_pid: int, interval_s: float = 0.05, *, most_share: float = SAMPLER_SHARE) -> None:
        self._root_pid = root_pid
        self._most_share = most_share
        self._interval_s = self._pause_s = interval_s
        self._seen_pids: set[int] = set()
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)
        self.peak = Headline(0, 0, 0, 0, "")

    def start(self) -> None:
        """Take the first sample, then sample until `stop`.

        Raises:
            ProcessLookupError: The root is gone.
        """
        if not process_tree(self._root_pid):
            raise ProcessLookupError(f"process {self._root_pid}, the root of what is measured, is gone")
        before_s = time.thread_time()
        self._sample()
        self._pause_s = self._pause_after(time.thread_time() - before_s)
        self._thread.start()

    def stop(self) -> Headline:
        """End the thread, take the last sample and return the peak; harmless when repeated.

        Raises:
            OSError: The thread could not read something; the peak is not known then.
        """
        self._stopped.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._sample()
        return self.peak

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._pause_s):
                before_s = time.thread_time()
                self._sample()
                self._pause_s = self._pause_after(time.thread_time() - before_s)
        except Exception as error:
            self._failure = error  # raised by stop(), where somebody listens

    def _pause_after(self, cost_s: float) -> float:
        return max(self._interval_s, cost_s / self._most_share)

    def _sample(self) -> None:
        self._seen_pids.update(process_tree(self._root_pid))
        self.peak = larger(self.peak, headline(self._seen_pids))
