"""SharedStore: memory is used again when nobody looks at it any more, and never before."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.errors import RemoteProtocolError, TensorStoreFull
from fedbench.tensors.layout import Layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore


@pytest.fixture
def store():
    made = SharedStore()
    yield made
    made.close()


def model(value=1.0, values=1000, version=0, store=None):
    options = {} if store is None else {"store": store}
    return ModelState.from_arrays({"w": np.full(values, value, np.float32)}, version, **options)


def place(handle):
    return handle.segment, handle.offset


def test_a_model_built_here_is_not_copied(store):
    built = model(store=store)
    assert store.holds(built)
    assert store.adopt(built) is built
    assert store.holds(built.draft(copy=True).freeze())
    assert store.holds(built.with_version(3))
    assert not store.holds(model())


def test_a_foreign_model_is_copied_once_for_all_who_are_sent_it(store):
    foreign = model(2.0, version=7)
    handles = [store.lend(foreign, peer) for peer in "abc"]
    assert len(set(map(place, handles))) == 1
    assert store.adopt(foreign) is store.adopt(foreign)
    assert store.adopt(foreign) == foreign
    assert handles[0].version == 7
    other = model(2.0)
    assert place(store.lend(other, "a")) != place(handles[0])


def test_the_copy_goes_with_the_model_and_the_leases(store):
    foreign = model()
    handle = store.lend(foreign, "a")
    del foreign
    gc.collect()
    assert store.stats()["leased"] == 1
    assert place(store.lend(model(), "a")) != place(handle)
    store.release("a", [handle.lease])
    again = {place(store.lend(kept, "b")) for kept in [model() for _ in range(12)]}
    assert place(handle) in again


def test_generations_grow_with_every_use(store):
    generations = []
    for _ in range(3):
        block = store.allocate(Layout.of({"w": np.zeros(1 << 17, np.uint8)}))
        generations.append(block.slot.generation)
        del block
    assert generations == [1, 2, 3]
    assert store.stats()["slots"] == 1


def test_leases_are_counted_by_peer_and_message(store):
    lent = model(store=store)
    handles = [store.lend(lent, peer) for peer in ("a", "a", "b")]
    one, two, other = (handle.lease for handle in handles)
    for peer, lease in (("a", other), ("b", one), ("c", one), ("a", 0), ("a", -1), ("a", other + 1)):
        with pytest.raises(RemoteProtocolError, match=f"lease {lease} is released"):
            store.release(peer, [lease])
    del lent
    store.release("a", [two, one])
    with pytest.raises(RemoteProtocolError, match="is released"):
        store.release("a", [one])
    assert store.stats()["leased"] == 1
    store.release("b", [other])
    stats = store.stats()
    assert (stats["leased"], stats["free"]) == (0, stats["slots"])


def test_the_leases_of_a_dead_peer_end(store):
    for kept in [model(), model()]:
        store.lend(kept, "dead")
        store.lend(kept, "alive")
    del kept
    store.forget("dead")
    store.forget("never seen")
    assert store.stats()["leased"] == 2
    store.forget("alive")
    stats = store.stats()
    assert (stats["leased"], stats["free"]) == (0, stats["slots"])


def test_bytes_are_lent_once(store):
    handle = store.lend_bytes(b"x" * 5000, "a")
    assert (handle.nbytes, handle.layout_nbytes) == (5000, 0)
    store.release("a", [handle.lease])
    stats = store.stats()
    assert stats["free"] == stats["slots"]


def test_a_full_store_changes_nothing_and_has_room_again_later():
    store = SharedStore(budget_bytes=1 << 20)
    try:
        kept = [model(values=60_000, store=store) for _ in range(3)]
        before = store.stats()
        with pytest.raises(TensorStoreFull, match=r"exceeds the store's budget: .* of 1048576"):
            model(values=200_000, store=store)
        assert store.stats() == before
        del kept
        assert model(values=200_000, store=store)["w"][0] == 1.0, "idle segments made room"
        assert store.stats()["segments"] == 1
    finally:
        store.close()


def test_closing_keeps_what_is_in_use_readable(store):
    kept = model(3.0, store=store)
    view = kept["w"][5:]
    store.close()
    store.close()
    del kept
    assert view[0] == 3.0
    with pytest.raises(TensorStoreFull, match="closed"):
        model(store=store)


def test_views_may_end_in_any_thread(store):
    held = [model(float(n), store=store) for n in range(20)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    stats = store.stats()
    assert stats["free"] == stats["slots"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40_000), st.integers(0, 9)), max_size=40))
def test_no_two_models_that_live_share_memory(steps):
    store = SharedStore()
    live: list[tuple[ModelState, float]] = []
    try:
        for number, (make, values, which) in enumerate(steps):
            if make or not live:
                live.append((model(float(number), values, store=store), float(number)))
            else:
                del live[which % len(live)]
            for built, value in live:
                assert (built["w"] == value).all()
    finally:
        store.close()
