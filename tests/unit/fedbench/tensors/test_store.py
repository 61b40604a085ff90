"""The heap as a store: fresh memory, and nothing to copy."""

from __future__ import annotations

import msgspec
import numpy as np

from fedbench.tensors.layout import Layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP, Handle, HeapStore


def test_memory_is_aligned_and_everybodys_own():
    layout = Layout.of({"w": np.zeros(100, np.uint8)})
    one, two = HEAP.allocate(layout), HEAP.allocate(layout)
    for block in (one, two):
        assert len(block.buffer) == layout.nbytes == 128
        assert np.frombuffer(block.buffer, np.uint8).ctypes.data % 64 == 0
    one.buffer[:] = b"x" * 128
    two.buffer[:] = b"y" * 128
    assert bytes(one.buffer) == b"x" * 128


def test_models_are_adopted_as_they_are():
    store, model = HeapStore(), ModelState.from_arrays({"w": np.zeros(3)})
    assert store.holds(model)
    assert store.adopt(model) is model
    store.close()
    assert store.adopt(model) is model


def test_drafts_lie_where_their_model_does():
    store = HeapStore()
    model = ModelState.from_arrays({"w": np.zeros(3)}, store=store)
    assert model.draft().freeze().block.store is store


def test_a_handle_is_small_on_the_wire():
    handle = Handle(
        "fb-4294967295-4194304-18446744073709551615-4026531836-9999999999",
        2**62,
        2**62,
        2**30,
        2**62,
        2**62,
        2**62,
    )
    assert len(msgspec.msgpack.encode(handle)) < 130
