"""Segments of shared memory, by their owner, by who has them open and by who maps them."""

import mmap
import os
import stat
from collections.abc import Collection
from pathlib import Path

import pytest

from harness.probes import sharedmemory
from harness.probes.procfs import open_files
from harness.probes.sharedmemory import SharedMemory

MIB = 1024 * 1024


def named(owner_pids: Collection[int], folder: Path) -> int:
    shared = SharedMemory()
    shared.add_named(owner_pids, str(folder))
    return shared.total_bytes()


def allocate(path: Path, size_bytes: int) -> int:
    """Make a file with its blocks allocated; return their size in bytes."""
    with open(path, "wb") as file:
        file.write(b"x" * size_bytes)
        file.flush()
        os.fsync(file.fileno())
    return os.stat(path).st_blocks * 512


def test_segments_count_by_their_owner(tmp_path: Path) -> None:
    mine = allocate(tmp_path / "fb-0-41-1-0", 3 * MIB) + allocate(tmp_path / "fb-0-42-99-7", MIB)
    allocate(tmp_path / "fb-0-43-1-0", MIB)
    allocate(tmp_path / "psm_41", MIB)
    assert mine >= 4 * MIB
    assert named({41, 42}, tmp_path) == mine


def test_a_segment_without_an_owner_in_its_name_is_not_hidden(tmp_path: Path) -> None:
    assert named(set(), tmp_path) == 0
    unnamed = allocate(tmp_path / "fb-arena", MIB)
    assert named(set(), tmp_path) == unnamed > 0


def test_pages_that_were_reserved_but_not_allocated_are_free(tmp_path: Path) -> None:
    with open(tmp_path / "fb-0-1-1-0", "wb") as file:
        file.truncate(64 * MIB)
    assert named({1}, tmp_path) < MIB


def test_a_segment_that_vanishes_while_it_is_counted_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "fb-0-1-1-0"
    allocate(path, MIB)

    class Unlinking(set[int]):
        def __contains__(self, pid: object) -> bool:
            path.unlink()
            return True

    assert named(Unlinking(), tmp_path) == 0


def test_a_segment_counts_once_however_it_is_found() -> None:
    fd = os.memfd_create("x")
    view = mmap.mmap(fd, 0) if os.ftruncate(fd, MIB) else mmap.mmap(fd, MIB)
    view[:] = bytes(MIB)
    shared = SharedMemory()
    shared.add_mapped(os.getpid())
    mapped = shared.total_bytes()
    shared.add_open([os.fstat(fd)])
    shared.add_mapped(os.getpid())
    assert mapped == shared.total_bytes() >= MIB
    view.close()
    os.close(fd)


def test_ordinary_files_and_libraries_are_no_shared_memory(tmp_path: Path) -> None:
    allocate(tmp_path / "log", MIB)
    with open(tmp_path / "log", "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        shared = SharedMemory()
        shared.add_open(open_files(os.getpid()).values())
        shared.add_mapped(os.getpid())
        key = os.stat(file.fileno()).st_dev, os.stat(file.fileno()).st_ino
        assert key not in shared.inodes
        mapping.close()


def test_a_file_of_a_tmpfs_with_a_name_is_an_ordinary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = sharedmemory._Devices(frozenset({1}), frozenset({1, 2}))
    monkeypatch.setattr(sharedmemory, "_devices", lambda: devices)

    class File:
        st_mode, st_ino, st_blocks = stat.S_IFREG, 5, 8

        def __init__(self, st_dev: int, st_nlink: int) -> None:
            self.st_dev, self.st_nlink = st_dev, st_nlink

    for device, links, counts in ((1, 1, 4096), (1, 0, 4096), (2, 1, 0), (2, 0, 4096), (3, 0, 0)):
        shared = SharedMemory()
        shared.add_open([File(device, links)])  # type: ignore[list-item]  # what is looked at of a stat_result
        assert shared.total_bytes() == counts


def test_where_files_behind_mappings_may_not_be_looked_at_their_pages_count(
    spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = spawn("""
        import mmap
        view = mmap.mmap(-1, 8 << 20)
        view[: 4 << 20] = bytes(4 << 20)
        print("ready", flush=True)
        input()
    """)
    monkeypatch.setattr(sharedmemory, "_stat", lambda path, key: None)
    shared = SharedMemory()
    shared.add_mapped(child.pid)
    assert shared.total_bytes() == 4 * MIB
