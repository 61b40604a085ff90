"""Shared memory of a set of processes: each segment once, by the pages that the kernel has allocated to it.

A segment is a file without a disk: a memfd, a file in ``/dev/shm``, a System V segment, or what lies behind
an anonymous shared mapping. It is found through an open descriptor, through a mapping, or through a name that
tells its owner, and counts whole for whoever holds it: nothing changes when somebody else maps it, too.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.probes.procfs import read_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FOLDER = "/dev/shm"
_PREFIX = "fb-"
_OWNER = re.compile(r"fb-\d+-(\d+)(-\d+)+")  # fb-<uid>-<pid>-…
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own block is
_SHARED = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ..[x-]s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$", re.MULTILINE
)
_RESIDENT = re.compile(rb"^Rss: +(\d+) kB$", re.MULTILINE)


class _Devices(NamedTuple):
    """Devices whose files are memory.

    Attributes:
        nameless: That of memfds and anonymous shared mappings, and that of ``/dev/shm``.
        all: These, and every other tmpfs.
    """

    nameless: frozenset[int]
    all: frozenset[int]


class SharedMemory:
    """Gathers segments.

    Attributes:
        inodes: Bytes of each segment by device and inode.
    """

    def __init__(self) -> None:
        self.inodes: dict[tuple[int, int], int] = {}

    def add_open(self, files: Iterable[os.stat_result]) -> None:
        """Add the segments among the open files of a process.

        A file of another tmpfs is an ordinary file, the log perhaps, unless it has no name any more.
        """
        devices = _devices()
        for file in files:
            if stat.S_ISREG(file.st_mode) and (
                file.st_dev in devices.nameless or (file.st_dev in devices.all and not file.st_nlink)
            ):
                self._add(file)

    def add_mapped(self, pid: int) -> None:
        """Add what a process has mapped as shared; what it maps privately, a library perhaps, is none."""
        unreadable = set()
        for start, end, major, minor, inode, path in _SHARED.findall(read_bytes(f"/proc/{pid}/maps") or b""):
            key = os.makedev(int(major, 16), int(minor, 16)), int(inode)
            if key[0] not in _devices().all or key in self.inodes:
                continue
            found = _stat(f"/proc/{pid}/map_files/{int(start, 16):x}-{int(end, 16):x}", key) or _stat(
                path, key
            )
            if found is None:
                unreadable.add(key)
            else:
                self._add(found)
        if unreadable:
            self._add_resident(pid, unreadable)

    def add_named(self, owner_pids: Collection[int], directory: str = FOLDER) -> None:
        """Add the federation's segments, mapped or not.

        Args:
            owner_pids: Processes of the federation, also those that are gone: what they left behind counts.
                A segment of another owner does not; one whose name tells no owner does, to hide nothing.
            directory: Where the segments are.
        """
        with os.scandir(directory) as entries:
            for entry in entries:
                owner = _OWNER.fullmatch(entry.name)
                if not entry.name.startswith(_PREFIX) or (owner and int(owner[1]) not in owner_pids):
                    continue
                try:
                    self._add(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue

    def total_bytes(self) -> int:
        """Return the allocated bytes of all that was added."""
        return sum(self.inodes.values())

    def _add(self, file: os.stat_result) -> None:
        self.inodes[file.st_dev, file.st_ino] = file.st_blocks * _BLOCK_BYTES

    def _add_resident(self, pid: int, keys: Collection[tuple[int, int]]) -> None:
        """Add segments by what a process has of them: their files cannot be looked at by this user."""
        resident: defaultdict[tuple[int, int], int] = defaultdict(int)
        smaps = read_bytes(f"/proc/{pid}/smaps") or b""
        for mapping in _SHARED.finditer(smaps):
            key = os.makedev(int(mapping[3], 16), int(mapping[4], 16)), int(mapping[5])
            kib = _RESIDENT.search(smaps, mapping.end())
            if key in keys and kib:
                resident[key] += int(kib[1]) * 1024
        self.inodes.update(resident)


def _stat(path: str | bytes, key: tuple[int, int]) -> os.stat_result | None:
    """Return the file behind a path if it is the one that is meant and may be looked at."""
    try:
        file = os.stat(path)
    except OSError:  # ENOENT: it has no name any more; EPERM: only root looks through map_files
        return None
    return file if (file.st_dev, file.st_ino) == key else None


@functools.cache
def _devices() -> _Devices:
    memfd = os.memfd_create("fedbench-device")
    try:
        nameless = {os.fstat(memfd).st_dev}
    finally:
        os.close(memfd)
    if os.path.isdir(FOLDER):
        nameless.add(os.stat(FOLDER).st_dev)
    tmpfs = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        about, _, filesystem = line.partition(" - ")
        if filesystem.startswith("tmpfs "):
            major, _, minor = about.split()[2].partition(":")
            tmpfs.add(os.makedev(int(major), int(minor)))
    return _Devices(frozenset(nameless), frozenset(tmpfs | nameless))
