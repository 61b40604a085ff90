"""Memory of other processes, shared pages divided among their owners, read from outside.

The headline is the sum of ``Pss_Anon`` and ``Pss_File`` over the tree plus the allocated blocks of the
federation's shared-memory segments, mapped or not. ``Pss_Shmem`` is left out of it, or a mapped segment would
count twice; it stands beside, so that shared memory of a system with other names does not go unseen.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from harness.probes.procfs import read_bytes
from harness.probes.tree import process_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SAMPLER_SHARE = 0.005
"""Share of a core that sampling memory may take."""
DENSE_SHARE = 0.1
"""The same where nothing but memory is measured."""

_PRIVATE = re.compile(rb"^Private_(?:Clean|Dirty):\s+(\d+) kB$", re.MULTILINE)
_FIELD = re.compile(rb"^(Pss_Anon|Pss_File|Pss_Shmem|VmHWM):\s+(\d+) kB$", re.MULTILINE)
_SEGMENT_PREFIX = "fb-"
_SEGMENT_OWNER = re.compile(r"fb-\d+-(\d+)(-\d+)+")  # fb-<uid>-<pid>-…
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own block is


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
    """Return the memory that only one process uses (USS), 0 when it is gone or a zombie."""
    rollup = read_bytes(f"/proc/{pid}/smaps_rollup") or b""
    return sum(map(int, _PRIVATE.findall(rollup))) * 1024


def tree_memory(pids: Iterable[int]) -> Memory:
    """Return the sum of `process_memory` over those of the processes that still exist."""
    found = [memory for pid in pids if (memory := process_memory(pid)) is not None]
    return Memory(*(sum(column) for column in zip(*found, strict=True))) if found else Memory(0, 0, 0, 0)


def segment_bytes(owner_pids: Collection[int], directory: str = "/dev/shm") -> int:
    """Return the allocated bytes of the federation's shared-memory segments.

    Args:
        owner_pids: Processes of the federation, also those that are gone: what they left behind counts. A
            segment of another owner does not; one whose name tells no owner does, to hide nothing.
        directory: Where the segments are.
    """
    allocated = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            owner = _SEGMENT_OWNER.fullmatch(entry.name)
            if not entry.name.startswith(_SEGMENT_PREFIX) or (owner and int(owner[1]) not in owner_pids):
                continue
            try:
                allocated += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
            except FileNotFoundError:
                continue
    return allocated


def headline_bytes(pids: Collection[int]) -> int:
    """Return the headline (see the module) of a federation's processes and of the segments they own."""
    memory = tree_memory(pids)
    return memory.pss_anon_bytes + memory.pss_file_bytes + segment_bytes(pids)


class MemorySampler:
    """The peak headline of a process tree, sampled by a thread of the measuring process.

    Pages that come and go between two samples are missed; that is why `Memory` has ``vm_hwm_bytes``, too. A
    sample costs about 0.1 ms per process: the pauses grow with the tree, so that the thread never takes more
    than its share of a core. One use per object.

    Args:
        root_pid: Root of the tree.
        interval_s: Least pause between the end of a sample and the beginning of the next.
        most_share: Most of a core that it takes.

    Attributes:
        peak_bytes: The peak so far.
    """

    def __init__(self, root_pid: int, interval_s: float = 0.05, *, most_share: float = SAMPLER_SHARE) -> None:
        self._root_pid = root_pid
        self._most_share = most_share
        self._interval_s = self._pause_s = interval_s
        self._seen_pids: set[int] = set()
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)
        self.peak_bytes = 0

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

    def stop(self) -> int:
        """End the thread, take the last sample and return the peak in bytes; harmless when repeated.

        Raises:
            OSError: The thread could not read something; the peak is not known then.
        """
        self._stopped.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._sample()
        return self.peak_bytes

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
        self.peak_bytes = max(self.peak_bytes, headline_bytes(self._seen_pids))
