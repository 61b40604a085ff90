"""SharedStore as a machine: whatever is held or lent stays as it was, whatever is not is used again."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedbench.errors import RemoteProtocolError, TensorStoreFull
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP

BUDGET_BYTES = 1 << 20
PEERS = st.sampled_from("abc")
PICK = st.integers(0, 1000)


class Leases(RuleBasedStateMachine):
    """A store, three peers that read from it, and what each should see."""

    def __init__(self):
        super().__init__()
        self.store = SharedStore(BUDGET_BYTES)
        self.held = []
        self.open = {peer: [] for peer in "abc"}
        self.lent = {peer: [] for peer in "abc"}
        self.generations = {}
        self.number = 0
        self.readers = {
            peer: Borrowed(os.getpid(), HEAP, lambda leases, peer=peer: self.store.release(peer, leases))
            for peer in "abc"
        }

    def teardown(self):
        for reader in self.readers.values():
            reader.close()
        self.store.close()

    @rule(values=st.sampled_from([1, 9_000, 20_000, 60_000]), here=st.booleans())
    def make(self, values, here):
        self.number += 1
        array = np.full(values, self.number, np.uint16)
        options = {"store": self.store} if here else {}
        try:
            model = ModelState.from_arrays({"w": array}, self.number, **options)
        except TensorStoreFull:
            assert self.store.stats()["bytes"] > 0
            return
        self.held.append((model, self.number))

    @precondition(lambda self: self.held)
    @rule(pick=PICK)
    def drop(self, pick):
        del self.held[pick % len(self.held)]

    @precondition(lambda self: self.held)
    @rule(pick=PICK, peer=PEERS)
    def lend(self, pick, peer):
        model, number = self.held[pick % len(self.held)]
        try:
            handle = self.store.lend(model, peer)
        except TensorStoreFull:
            return
        place = handle.segment, handle.offset
        previous = self.generations.get(place, (0, number))
        assert handle.generation > previous[0] or previous == (handle.generation, number)
        self.generations[place] = handle.generation, number
        self.lent[peer].append((handle, number))

    @rule(peer=PEERS)
    def arrive(self, peer):
        self.open[peer].extend(self.opened(peer, *lent) for lent in self.lent[peer])
        self.lent[peer].clear()

    def opened(self, peer, handle, number):
        model = self.readers[peer].open(handle)
        assert model.version == number
        return model["w"][-1:], number

    @rule(peer=PEERS)
    def read(self, peer):
        self.open[peer].clear()

    @rule(peer=PEERS)
    def die(self, peer):
        self.open[peer].clear()
        self.lent[peer].clear()
        self.store.forget(peer)

    @rule(peer=PEERS)
    def lie(self, peer):
        for handle, _ in self.lent[peer][:1]:
            for other, lease in ((peer, handle.lease + 1_000_000), (peer, 0), ("x", handle.lease)):
                try:
                    self.store.release(other, [lease])
                except RemoteProtocolError:
                    continue
                raise AssertionError("it has no such lease")

    @invariant()
    def what_is_seen_is_what_was_written(self):
        for model, number in self.held:
            assert (model["w"] == number).all()
        for views in self.open.values():
            for view, number in views:
                assert view[0] == number
        for lent in self.lent.values():
            for handle, number in lent:
                mapped = self.store._segments[handle.segment][0].map
                assert mapped[handle.offset + 64] | mapped[handle.offset + 65] << 8 == number

    @invariant()
    def what_nobody_uses_is_free(self):
        stats = self.store.stats()
        assert stats["bytes"] <= BUDGET_BYTES
        used = {(h.segment, h.offset) for lent in self.lent.values() for h, _ in lent}
        assert len(used) <= stats["leased"]
        if not any((self.held, *self.open.values(), *self.lent.values())):
            assert (stats["leased"], stats["free"]) == (0, stats["slots"])


def test_a_slot_that_is_used_again_is_as_good_as_a_new_one():
    """It too is not free while it is looked at here, whatever its readers release."""
    store = SharedStore()
    try:
        for number in range(3):
            kept = ModelState.from_arrays({"w": np.full(1 << 16, number)}, store=store)
            handle = store.lend(kept, "a")
            store.release("a", [handle.lease])
            other = ModelState.from_arrays({"w": np.full(1 << 16, 99)}, store=store)
            assert not np.shares_memory(kept["w"], other["w"])
            assert (kept["w"] == number).all()
            del kept, other
        assert store.stats()["segments"] == 2
    finally:
        store.close()


Leases.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLeases = Leases.TestCase
