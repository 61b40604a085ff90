"""SharedStore short of room: others give theirs up, and nobody waits for what another one gets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from fedbench.errors import TensorStoreFull
from fedbench.tensors import shared
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.layout import Layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP
from tests.pace import limit_s

BIG = Layout.of({"w": np.zeros(1 << 20, np.uint8)})

READ_BY_OTHERS = """
import os
import numpy as np
from fedbench.errors import TensorStoreFull
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP

store = SharedStore()
reader = Borrowed(os.getpid(), HEAP, lambda leases: store.release("reader", leases))

def opened(nbytes):
    return reader.open(store.lend(ModelState.from_arrays({"w": np.ones(nbytes, np.uint8)}), "reader"))

first = opened(600_000)
try:
    opened(900_000)
except TensorStoreFull as error:
    print("no room for" in str(error), first["w"].all())
del first
print(opened(900_000)["w"].all(), store.stats()["segments"], len(reader._segments))
store.close()
"""


@pytest.fixture
def store():
    made = SharedStore()
    yield made
    made.close()


class Slow:
    """Segments that are made when the test says so."""

    def __init__(self, monkeypatch):
        self.asked = threading.Event()
        self.go = threading.Event()
        self._real = shared.Segment
        monkeypatch.setattr(shared, "Segment", self)

    def __call__(self, nbytes):
        self.asked.set()
        assert self.go.wait(10)
        return self._real(nbytes)


def allocate_in_thread(store, done):
    def work():
        try:
            done.append(store.allocate(BIG))
        except TensorStoreFull as error:
            done.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_nobody_waits_while_a_segment_is_made(store, monkeypatch):
    small = ModelState.from_arrays({"w": np.ones(10)}, store=store)
    slow, done = Slow(monkeypatch), []
    thread = allocate_in_thread(store, done)
    assert slow.asked.wait(10)
    handle = store.lend(small, "a")
    store.release("a", [handle.lease])
    store.forget("a")
    ModelState.from_arrays({"w": np.ones(10)}, store=store)
    assert store.stats()["segments"] == 1
    slow.go.set()
    thread.join()
    assert store.stats()["segments"] == 2


def test_what_is_being_made_counts_for_the_budget(monkeypatch):
    store = SharedStore(budget_bytes=3 << 20)
    slow, done = Slow(monkeypatch), []
    threads = [allocate_in_thread(store, done) for _ in range(4)]
    assert slow.asked.wait(10)
    slow.go.set()
    for thread in threads:
        thread.join()
    refused = [error for error in done if isinstance(error, TensorStoreFull)]
    try:
        assert len(refused) == 2
        assert "budget" in str(refused[0])
        assert store.stats()["bytes"] <= 3 << 20
    finally:
        store.close()


def test_a_store_that_is_closed_meanwhile_leaves_nothing(monkeypatch):
    store = SharedStore()
    slow, done = Slow(monkeypatch), []
    thread = allocate_in_thread(store, done)
    assert slow.asked.wait(10)
    store.close()
    slow.go.set()
    thread.join()
    assert "closed" in str(done[0])
    assert not [name for name in os.listdir("/dev/shm") if f"-{os.getpid()}-" in name]


def test_a_segment_that_could_not_be_made_counts_no_more(monkeypatch):
    store = SharedStore(budget_bytes=2 << 20)

    def full(nbytes):
        raise TensorStoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(shared, "Segment", full)
        for _ in range(3):
            with pytest.raises(TensorStoreFull, match="no room"):
                store.allocate(BIG)
    assert store.stats()["bytes"] == 0
    assert len(store.allocate(BIG).buffer) == BIG.nbytes
    store.close()


def test_two_threads_that_adopt_a_model_get_the_same_copy(store, monkeypatch):
    slow, copies = Slow(monkeypatch), []
    foreign = ModelState.from_arrays({"w": np.ones(10)})
    threads = [threading.Thread(target=lambda: copies.append(store.adopt(foreign))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert slow.asked.wait(10)
    slow.go.set()
    for thread in threads:
        thread.join()
    assert copies[0] is copies[1]
    assert store.adopt(foreign) is copies[0]


def test_idle_segments_make_room_though_a_reader_maps_them():
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make mount namespaces (CAP_SYS_ADMIN)")
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "
    command = ["unshare", "-m", "sh", "-c", mount + f'"{sys.executable}" -c "$1"', "sh", READ_BY_OTHERS]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit_s(60))
    assert result.stdout.split() == ["True", "True", "True", "1", "1"], result.stderr


def test_a_reader_lets_go_of_what_was_unlinked_when_it_maps_more():
    store = SharedStore(budget_bytes=1_200_000)
    reader = Borrowed(os.getpid(), HEAP, lambda leases: store.release("reader", leases))
    try:
        for nbytes in (300_000, 600_000, 1_000_000, 300_000):
            model = ModelState.from_arrays({"w": np.ones(nbytes, np.uint8)}, store=store)
            opened = reader.open(store.lend(model, "reader"))
            assert opened == model
            assert set(reader._segments) <= set(store._segments)
            del model, opened
    finally:
        reader.close()
        store.close()
