"""Segments: named shared memory, its names, and what killed processes have left of it.

A name tells the owner: ``fb-<uid>-<pid>-<starttime>-<n>``. The owner alone creates and unlinks; others map a
segment for reading without the resource tracker knowing, which would unlink what it only attached.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import threading
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

from fedbench.errors import TensorStoreFull

FOLDER = "/dev/shm"
_NAME = re.compile(r"fb-(\d{1,10})-(\d{1,10})-(\d{1,20})-(\d{1,10})")
_numbers = itertools.count(1)


class Name(NamedTuple):
    """What the name of a segment tells of its owner.

    Attributes:
        uid: User.
        pid: Process.
        starttime: When that process began, in clock ticks since the boot: process ids are used again.
    """

    uid: int
    pid: int
    starttime: int


class Leftover(NamedTuple):
    """A segment whose owner is gone.

    Attributes:
        name: Its name.
        nbytes: Bytes that it occupies.
        pid: Process that owned it.
    """

    name: str
    nbytes: int
    pid: int


class Segment:
    """A segment that this process owns.

    Args:
        nbytes: Its size; every page of it is allocated, so that writing to it cannot fail.

    Attributes:
        name: Its name.
        nbytes: Its size.
        map: Its memory. Never closed: it ends with the last view of it.

    Raises:
        TensorStoreFull: There is no room; nothing was left behind.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._memory = self._create(nbytes)
        self.name = self._memory.name
        self._there = True
        try:
            fd = os.open(f"{FOLDER}/{self.name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.posix_fallocate(fd, 0, nbytes)
                self.map = mmap.mmap(fd, nbytes, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            finally:
                os.close(fd)
        except OSError as error:
            self.unlink()
            free, total = room()
            raise TensorStoreFull(
                f"{FOLDER} has no room for {nbytes} bytes more ({free} of {total} are free): "
                f"{error.strerror}; enlarge it (docker run --shm-size, mount -o remount,size=…) or use "
                "smaller models or fewer clients"
            ) from None
        finally:
            self._memory.close()

    @staticmethod
    def _create(nbytes: int) -> SharedMemory:
        while True:
            name = f"fb-{os.getuid()}-{os.getpid()}-{_starttime(os.getpid())}-{next(_numbers)}"
            try:
                return SharedMemory(name, create=True, size=nbytes)
            except FileExistsError:  # another process of a namespace that shares this folder
                continue
            except OSError as error:
                raise TensorStoreFull(f"{FOLDER} takes no segment of {nbytes} bytes: {error}") from None

    def unlink(self) -> None:
        """Take its name away; its memory stays as long as somebody maps it. Idempotent."""
        if self._there:
            self._there = False
            try:
                self._memory.unlink()
            except FileNotFoundError:
                resource_tracker.unregister(f"/{self.name}", "shared_memory")


def attach(name: str) -> mmap.mmap:
    """Map a segment of another process for reading.

    Raises:
        OSError: There is none of that name, or this user may not read it.
        ValueError: The name is not one of a segment, or it is empty.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a segment")
    fd = os.open(f"{FOLDER}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(fd)


def parse_name(name: str) -> Name | None:
    """Return what a name tells, None if it is not one of a segment."""
    match = _NAME.fullmatch(name)
    return None if match is None else Name(*(int(part) for part in match.groups()[:3]))


def leftovers() -> list[Leftover]:
    """Return this user's segments whose owner is gone, by name."""
    found = []
    for name in sorted(os.listdir(FOLDER)):
        owner = parse_name(name)
        if owner is None or owner.uid != os.getuid() or _starttime(owner.pid) == owner.starttime:
            continue
        try:
            found.append(Leftover(name, os.stat(f"{FOLDER}/{name}").st_blocks * 512, owner.pid))
        except FileNotFoundError:
            continue
    return found


_sweeping = threading.Lock()


def sweep(pid: int | None = None, *, tracked: bool = False) -> list[str]:
    """Unlink this user's segments whose owner is gone.

    Args:
        pid: Only those of that process.
        tracked: Whether the owner shared this process's resource tracker, as its children do: then that is
            told too, or it would warn of a leak at its end.

    Returns:
        The names of those that this call has unlinked.
    """
    swept = []
    with _sweeping:
        for leftover in leftovers():
            if pid is not None and leftover.pid != pid:
                continue
            try:
                os.unlink(f"{FOLDER}/{leftover.name}")
            except FileNotFoundError:
                continue
            if tracked:
                resource_tracker.unregister(f"/{leftover.name}", "shared_memory")
            swept.append(leftover.name)
    return swept


def room() -> tuple[int, int]:
    """Return how many bytes of the folder of segments are free, and how many there are."""
    status = os.statvfs(FOLDER)
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def _starttime(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot; -1 if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
