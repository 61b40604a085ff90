"""Segments: named after their owner, gone with it, and never written without room."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys

import pytest

from fedbench.errors import TensorStoreFull
from fedbench.tensors import segments
from fedbench.tensors.segments import Segment, attach, is_linked, leftovers, parse_name, room, sweep
from tests.pace import limit_s

HOLD = """
import sys
from fedbench.tensors import segments
segments.NAMESPACE = int(sys.argv[1])
from fedbench.tensors.segments import Segment
held = [Segment(8192) for _ in range(2)]
print(*(segment.name for segment in held), flush=True)
"""


@pytest.fixture
def segment():
    made = Segment(8192)
    yield made
    made.unlink()
    made.map = made.data = None


def hold(then, **options):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD + then, str(segments.NAMESPACE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_name_tells_the_owner(segment):
    name = parse_name(segment.name)
    assert (name.uid, name.pid) == (os.getuid(), os.getpid())
    assert [parse_name(other) for other in ("fb-1", "fb-1-2-3-4-5x", "fb-1-2-3-4", "../x", "")] == [None] * 5
    assert segment.name not in {leftover.name for leftover in leftovers()}


def test_what_the_owner_writes_others_read_and_cannot_write(segment):
    mapped = attach(segment.name)
    segment.map[10:15] = b"hello"
    assert mapped[10:15] == b"hello"
    with pytest.raises(TypeError):
        mapped[0] = 1
    assert os.stat(f"/dev/shm/{segment.name}").st_blocks * 512 >= 8192, "every page is allocated"


def test_unlinking_twice_is_unlinking_once_and_views_stay(segment):
    segment.map[0] = 7
    segment.unlink()
    segment.unlink()
    assert segment.map[0] == 7
    with pytest.raises(FileNotFoundError):
        attach(segment.name)


def test_one_that_somebody_else_has_unlinked_is_no_error(segment):
    os.unlink(f"/dev/shm/{segment.name}")
    segment.unlink()


@pytest.mark.parametrize("name", ["../etc/passwd", "fb-0-1-2-3/../x", "/dev/shm/x", "", "psm_abc"])
def test_only_names_of_segments_are_attached(name):
    with pytest.raises(ValueError, match="not the name of a segment"):
        attach(name)


def test_without_room_nothing_is_left_and_the_remedy_is_named(monkeypatch):
    before = set(os.listdir("/dev/shm"))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(TensorStoreFull, match=r"no room for 4096 bytes more .*--shm-size"):
        Segment(4096)
    assert set(os.listdir("/dev/shm")) == before


def test_an_exhausted_folder_is_an_error_and_no_crash():
    free, total = room()
    assert 0 < free <= total
    code = """
import os, sys
from fedbench.errors import TensorStoreFull
from fedbench.tensors.segments import Segment
try:
    Segment(4 << 20)
except TensorStoreFull as error:
    print("full", "4194304" in str(error))
print(Segment(4096).nbytes)
"""
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "
    command = ["unshare", "-m", "sh", "-c", mount + f'"{sys.executable}" -c "$1"', "sh", code]
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make mount namespaces")
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit_s(60))
    assert result.stdout.split() == ["full", "True", "4096"], result.stderr


def test_an_owner_that_ends_leaves_nothing_that_unlinks():
    with hold("for segment in held: segment.unlink()") as process:
        names, errors = process.communicate(timeout=limit_s(30))
    assert errors == ""
    assert not set(names.split()) & set(os.listdir("/dev/shm"))


def test_what_a_killed_owner_leaves_is_swept_by_name_of_its_process(own_namespace):
    with hold("__import__('os').killpg(0, 9)", start_new_session=True) as process:
        names = process.communicate(timeout=limit_s(30))[0].split()
    assert process.returncode == -signal.SIGKILL
    try:
        found = {leftover.name: leftover for leftover in leftovers()}
        assert [found[name].pid for name in names] == [process.pid] * 2
        assert [found[name].nbytes for name in names] == [8192] * 2
        assert sweep(os.getpid()) == []
        assert sorted(sweep(process.pid)) == sorted(names)
        assert sweep(process.pid) == []
    finally:
        for name in set(names) & set(os.listdir("/dev/shm")):
            os.unlink(f"/dev/shm/{name}")


def test_a_process_id_that_is_used_again_owns_nothing_of_its_predecessor(own_namespace):
    name = f"fb-{os.getuid()}-{os.getpid()}-1-{own_namespace}-1"
    foreign = f"fb-{os.getuid() + 1}-1-1-{own_namespace}-1"
    for made in (name, foreign):
        with open(f"/dev/shm/{made}", "w"):
            pass
    try:
        assert sweep(os.getpid()) == [name]
        assert os.path.exists(f"/dev/shm/{foreign}")
    finally:
        os.unlink(f"/dev/shm/{foreign}")


@pytest.mark.parametrize("make", ["file of another user", "folder"])
def test_what_only_bears_such_a_name_is_not_touched(make, own_namespace):
    path = f"/dev/shm/fb-{os.getuid()}-1-1-{own_namespace}-1"
    if make == "folder":
        os.mkdir(path)
    else:
        with open(path, "w") as file, contextlib.suppress(PermissionError):  # else it stays one of this user
            os.fchown(file.fileno(), os.getuid() + 1, -1)
    ours = os.path.isfile(path) and os.stat(path).st_uid == os.getuid()
    try:
        assert [leftover.pid for leftover in leftovers() if leftover.pid == 1] == [1] * ours
        assert len(sweep(1)) == ours
    finally:
        if make == "folder":
            os.rmdir(path)
        elif not ours:
            os.unlink(path)


def test_what_is_discarded_gives_its_memory_back_though_it_is_mapped(segment):
    mapped = attach(segment.name)
    with open(f"/dev/shm/{segment.name}", "rb") as file:
        segment.discard()
        assert os.fstat(file.fileno()).st_blocks == 0
    assert not is_linked(segment.name)
    assert len(mapped) == 8192


def test_a_sweep_that_meets_another_is_no_error(monkeypatch):
    gone = segments.Leftover("fb-0-1-1-4-1", 0, 1)
    monkeypatch.setattr(segments, "leftovers", lambda: [gone])
    assert sweep() == []


def test_what_lies_there_of_another_namespace_of_process_ids_is_left_alone():
    name = f"fb-{os.getuid()}-{os.getpid()}-1-{segments.NAMESPACE + 1}-1"
    path = f"/dev/shm/{name}"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        assert name not in {leftover.name for leftover in leftovers()}
        assert name not in sweep()
        assert os.path.exists(path)
    finally:
        os.unlink(path)


def test_a_shortage_is_told_with_its_remedy():
    free, total = room()
    assert segments.shortage(0) is None
    assert f"{total} bytes free and {free + (1 << 40)} may be needed" in segments.shortage(free + (1 << 40))
    assert "--shm-size" in segments.shortage(total + 1)
