"""Borrowed models: read where they lie, released once, and nothing that was not lent."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from fedbench.errors import RemoteProtocolError
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP
from tests.pace import limit_s

READER = """
import sys, msgspec
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.store import HEAP, Handle
handle = msgspec.json.decode(sys.argv[2], type=Handle)
borrowed = Borrowed(int(sys.argv[1]), HEAP, lambda leases: print("released", *leases))
model = borrowed.open(handle)
print(model["w"].sum(), model.version)
del model
"""


class World:
    """A store, a reader of it and what was released."""

    def __init__(self):
        self.store = SharedStore()
        self.released = []
        self.borrowed = Borrowed(os.getpid(), HEAP, self.released.append)
        self.model = ModelState.from_arrays({"w": np.arange(1000.0), "b": np.ones(3, np.float32)}, 5)

    def lend(self):
        return self.store.lend(self.model, "reader")


@pytest.fixture
def world():
    made = World()
    yield made
    made.borrowed.close()
    made.store.close()


def test_a_model_is_the_same_and_read_only(world):
    opened = world.borrowed.open(world.lend())
    assert opened == world.model
    assert opened.version == 5
    with pytest.raises(ValueError, match="read-only"):
        opened["w"][0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        opened["w"].flags.writeable = True
    assert opened.draft().freeze().block.store is HEAP


def test_it_is_released_with_the_last_view_of_it(world):
    handle = world.lend()
    opened = world.borrowed.open(handle)
    tail = opened["w"][-1:]
    del opened
    assert world.released == []
    assert tail[0] == 999.0
    del tail
    assert world.released == [[handle.lease]]
    world.store.release("reader", world.released[0])
    assert world.store.stats()["leased"] == 0


def test_opening_twice_is_one_release_of_two(world):
    one, two = world.borrowed.open(world.lend()), world.borrowed.open(world.lend())
    assert one is two
    del one
    assert world.released == []
    del two
    assert world.released == [[1, 2]]
    third = world.borrowed.open(world.lend())
    del third
    assert world.released == [[1, 2], [3]]


def test_another_version_over_the_same_memory_is_released_by_itself(world):
    one = world.borrowed.open(world.lend())
    two = world.borrowed.open(msgspec.structs.replace(world.lend(), version=9))
    assert (one.version, two.version) == (5, 9)
    tail = one["w"][-1:]
    del one, two
    assert world.released == [[2]]
    del tail
    assert world.released == [[2], [1]]


def test_bytes_are_copied_and_released_at_once(world):
    handle = world.store.lend_bytes(b"abc" * 2000, "reader")
    assert world.borrowed.read_bytes(handle) == b"abc" * 2000
    assert world.released == [[handle.lease]]


def test_closing_keeps_views_readable(world):
    opened = world.borrowed.open(world.lend())
    world.borrowed.close()
    world.store.close()
    assert opened["w"][3] == 3.0


def test_another_process_reads_the_same(world):
    text = msgspec.json.encode(world.lend()).decode()
    result = subprocess.run(
        [sys.executable, "-c", READER, str(os.getpid()), text],
        capture_output=True,
        text=True,
        timeout=limit_s(30),
    )
    assert result.stdout.split()[:3] == ["499500.0", "5", "released"]
    assert result.stderr == ""
    assert os.path.exists(f"/dev/shm/{world.lend().segment}"), "who only reads never unlinks"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"segment": "fb-0-1-2-3-4"}, "is no segment of process"),
        ({"segment": "../shadow"}, "is no segment of process"),
        ({"generation": 2}, "stale or forged"),
        ({"generation": -1}, "stale or forged"),
        ({"nbytes": 8000}, "stale or forged"),
        ({"nbytes": -1}, "out of range"),
        ({"nbytes": 2**62}, "out of range"),
        ({"layout_nbytes": 1 << 20}, "out of range"),
        ({"layout_nbytes": 3}, "stale or forged"),
        ({"layout_nbytes": -3}, "out of range"),
        ({"offset": -64}, "out of range"),
        ({"offset": 2**40}, "out of range"),
        ({"offset": 1}, "out of range"),
        ({"version": -1}, "has version -1"),
    ],
)
def test_a_forged_handle_is_refused_by_name(world, change, named):
    handle = msgspec.structs.replace(world.lend(), **change)
    with pytest.raises(RemoteProtocolError, match=named):
        world.borrowed.open(handle)
    assert world.released == []


def test_a_segment_that_is_gone_is_refused(world):
    handle = world.lend()
    name = handle.segment.rpartition("-")[0] + "-99999"
    with pytest.raises(RemoteProtocolError, match="cannot be mapped"):
        world.borrowed.open(msgspec.structs.replace(handle, segment=name))


def test_a_layout_that_does_not_describe_the_data_is_refused(world):
    handle = world.lend()
    other = ModelState.from_arrays({"w": np.arange(1000.0), "b": np.ones(99)}).layout.encoded
    assert len(other) == handle.layout_nbytes
    segment = world.store._segments[handle.segment][0]
    start = handle.offset + 64 + handle.nbytes
    segment.map[start : start + len(other)] = other
    with pytest.raises(RemoteProtocolError, match="has a layout of"):
        world.borrowed.open(handle)


def test_a_slot_that_is_used_again_makes_old_handles_stale(world):
    handle = world.lend()
    slot = next(slot for slot in world.store._segments[handle.segment][1] if slot.offset == handle.offset)
    slot.begin(handle.nbytes, b"")
    with pytest.raises(RemoteProtocolError, match="stale or forged: generation 2"):
        world.borrowed.open(handle)
