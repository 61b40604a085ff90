"""Segments: named shared memory, its names, and what killed processes have left of it.

A name tells the owner: ``fb-<uid>-<pid>-<starttime>-<pidns>-<n>``. Only the owner creates and unlinks. Others
map a segment for reading without the resource tracker knowing, which would unlink what it only attached. What
the owner has not unlinked when it exits goes then; what a killed one leaves is swept.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import mmap
import os
import re
import stat
import threading
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np

from fedbench.errors import TensorStoreFull

FOLDER = "/dev/shm"
_NAME = re.compile(r"fb-(\d{1,10})-(\d{1,10})-(\d{1,20})-(\d{1,20})-(\d{1,10})")
_numbers = itertools.count(1)
NAMESPACE = os.stat("/proc/self/ns/pid").st_ino
"""Of the process ids of this process; those of its children are the same."""
_linked: dict[str, SharedMemory] = {}  # what this process has not unlinked yet


class Name(NamedTuple):
    """What the name of a segment tells of its owner.

    Attributes:
        uid: User.
        pid: Process.
        starttime: When that process began, in clock ticks since the boot: process ids are used again.
        namespace: The namespace of process ids that it means: containers may share the folder and not these.
    """

    uid: int
    pid: int
    starttime: int
    namespace: int


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
        data: The same as an array of bytes, shape (nbytes,).

    Raises:
        TensorStoreFull: There is no room; nothing was left behind.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        memory = self._create()
        self.name = memory.name
        try:
            fd = os.open(f"{FOLDER}/{self.name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.posix_fallocate(fd, 0, nbytes)
                self.map = mmap.mmap(fd, nbytes, mmap.MAP_SHARED)
            finally:
                os.close(fd)
        except (OSError, OverflowError) as error:
            self.unlink()
            free, total = room()
            raise TensorStoreFull(
                f"{FOLDER} has no room for {nbytes} bytes more ({free} of {total} are free): "
                f"{error}; enlarge it (docker run --shm-size, mount -o remount,size=…) or use "
                "smaller models or fewer clients"
            ) from None
        finally:
            memory.close()
        # Unlike MAP_POPULATE, this lets other threads run while every page is mapped; all of them are zero.
        self.data = np.frombuffer(self.map, np.uint8)
        self.data[:: mmap.PAGESIZE] = 0

    @staticmethod
    def _create() -> SharedMemory:
        """Take a name; one byte is asked for, because the tracker objects to a SharedMemory that fails."""
        while True:
            name = own_name(next(_numbers))
            try:
                memory = SharedMemory(name, create=True, size=1)
            except FileExistsError:  # another process of a namespace that shares this folder
                continue
            except OSError as error:
                raise TensorStoreFull(f"{FOLDER} takes no segment more: {error}") from None
            _linked[name] = memory
            return memory

    def unlink(self) -> None:
        """Take its name away; its memory stays as long as somebody maps it. Idempotent."""
        _unlink(self.name)

    def discard(self) -> None:
        """Unlink it and give its memory back at once, though others still map it: nobody may look at it."""
        self.unlink()
        with contextlib.suppress(OSError):  # its pages are locked: then they go with the last map
            self.map.madvise(mmap.MADV_REMOVE)


@atexit.register
def _unlink_all() -> None:
    for name in list(_linked):
        owner = parse_name(name)
        if owner is not None and owner.pid == os.getpid():  # else a fork has inherited it
            _unlink(name)


def _unlink(name: str) -> None:
    memory = _linked.pop(name, None)
    if memory is not None:
        try:
            memory.unlink()
        except FileNotFoundError:
            resource_tracker.unregister(f"/{name}", "shared_memory")


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


def is_linked(name: str) -> bool:
    """Whether there is a segment of that name, in the form that :func:`attach` takes."""
    try:
        os.close(os.open(f"{FOLDER}/{name}", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    return True


def parse_name(name: str) -> Name | None:
    """Return what a name tells, None if it is not one of a segment."""
    match = _NAME.fullmatch(name)
    return None if match is None else Name(*(int(part) for part in match.groups()[:4]))


def own_name(number: int) -> str:
    """Return the name of a segment of this process."""
    pid = os.getpid()
    return f"fb-{os.getuid()}-{pid}-{_starttime(pid)}-{NAMESPACE}-{number}"


def leftovers() -> list[Leftover]:
    """Return this user's segments whose owner is gone, by name.

    Owners in another namespace of process ids cannot be seen from here: theirs do not count.
    """
    found = []
    for name in sorted(os.listdir(FOLDER)):
        owner = parse_name(name)
        if owner is None or owner.uid != os.getuid() or owner.namespace != NAMESPACE:
            continue
        if _starttime(owner.pid) == owner.starttime:
            continue
        try:
            status = os.lstat(f"{FOLDER}/{name}")
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_uid == owner.uid:  # anybody may use such a name
            found.append(Leftover(name, status.st_blocks * 512, owner.pid))
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


def shortage(nbytes: int) -> str | None:
    """Return what is wrong and what to do if the folder of segments has not that many bytes free."""
    free, total = room()
    if free >= nbytes:
        return None
    return (
        f"{FOLDER} has {free} of {total} bytes free and {nbytes} may be needed: enlarge it "
        "(docker run --shm-size, mount -o remount,size=…) or use a smaller model or fewer clients"
    )


def _starttime(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot; -1 if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
