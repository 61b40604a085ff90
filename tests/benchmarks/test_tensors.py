"""Memory for models: on the heap, and in shared memory that is lent and taken back."""

import os

import numpy as np
import pytest

from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP
from tests.benchmarks.conftest import SIZES, a_model


@pytest.fixture
def store():
    made = SharedStore()
    yield made
    made.close()


@SIZES
@pytest.mark.parametrize("kind", ["heap", "shared"])
def test_draft_and_freeze(benchmark, store, size, kind):
    model = a_model(size, store=HEAP if kind == "heap" else store)

    def update():
        draft = model.draft()
        for name, array in draft.items():
            np.add(model[name], 1.0, out=array)
        return draft.freeze(2)

    assert benchmark(update).version == 2


@SIZES
def test_adopt_a_foreign_model(benchmark, store, size):
    benchmark.pedantic(
        lambda model: store.adopt(model),
        setup=lambda: ((a_model(size),), {}),
        rounds=200,
        warmup_rounds=5,
    )
    assert store.stats()["leased"] == 0


@SIZES
def test_lend_and_release(benchmark, store, size):
    model = a_model(size, store=store)

    def lend():
        handle = store.lend(model, "peer")
        store.release("peer", [handle.lease])
        return handle

    assert benchmark(lend).nbytes == model.nbytes
    assert not store.lends_to("peer")


@pytest.mark.parametrize("nbytes", [5000, 1 << 20])
def test_lend_bytes(benchmark, store, nbytes):
    data = bytes(nbytes)

    def lend():
        handle = store.lend_bytes(data, "peer")
        store.release("peer", [handle.lease])
        return handle

    assert benchmark(lend).nbytes == nbytes


@SIZES
def test_open_what_is_lent(benchmark, store, size):
    model = a_model(size, store=store)
    borrowed = Borrowed(os.getpid(), HEAP, lambda leases: store.release("peer", leases))

    def look():
        return borrowed.open(store.lend(model, "peer"))["layer3.weight"][0]

    assert benchmark(look) == 3.5
    assert not store.lends_to("peer")


def test_lend_to_a_hundred_peers(benchmark, store):
    """One broadcast of one model."""
    model, peers = a_model("large", store=store), range(100)

    def broadcast():
        leases = [store.lend(model, peer).lease for peer in peers]
        for peer, lease in zip(peers, leases, strict=True):
            store.release(peer, [lease])

    benchmark(broadcast)
    assert store.stats()["leased"] == 0
