"""Packing: small messages travel whole, large ones lie in shared memory, and a refusal lends nothing."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fedbench.codec import envelope as envelopes
from fedbench.errors import LocalProtocolError, TensorStoreFull
from fedbench.messages import Kind, Message
from fedbench.tensors.borrowed import Borrowed
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HEAP
from fedbench.transport.process.packing import pack, take_back, unpack
from tests.fakes.connection import FakeConnection

MODEL = ModelState.from_arrays({"w": np.arange(5.0)}, 3)


@pytest.fixture
def store():
    made = SharedStore()
    yield made
    made.close()


def message(body=None, tensors=None):
    return Message(Kind.DATA, "a", "b", "m", body, tensors, 5, 6, sent_ns=7, intended_ns=8)


@pytest.mark.parametrize("body", [None, (1, "two"), {"k": b"x" * 3000}, b"x" * 5000, ["y" * 3000] * 2])
@pytest.mark.parametrize("tensors", [None, MODEL])
def test_a_message_comes_out_as_it_went_in(store, body, tensors):
    payload, handles = pack(message(body, tensors), store, "b")
    assert len(payload) <= 4096
    assert len(handles) == (tensors is not None) + (len(str(body)) > 4000)
    borrowed = Borrowed(os.getpid(), HEAP, lambda leases: store.release("b", leases))
    connection = FakeConnection("b", "a", 1)
    opened = unpack(envelopes.decode(payload), connection, borrowed)
    assert opened.body == (list(body) if isinstance(body, tuple) else body)
    assert opened.tensors == tensors
    assert (opened.source, opened.target, opened.correlation_id, opened.deadline_ns) == ("a", "b", 5, 6)
    del opened
    borrowed.close()


@pytest.mark.parametrize(("body", "error"), [(2**70, LocalProtocolError), (b"x" * 300_000, TensorStoreFull)])
def test_what_is_refused_lends_nothing(body, error):
    store = SharedStore(budget_bytes=1 << 17)
    with pytest.raises(error):
        pack(message(body, MODEL), store, "b")
    assert store.stats()["leased"] == 0
    store.close()


def test_what_is_never_sent_is_taken_back(store):
    _, handles = pack(message(b"x" * 5000, MODEL), store, "b")
    assert store.stats()["leased"] == 2
    take_back(handles, store, "b")
    assert store.stats()["leased"] == 0
