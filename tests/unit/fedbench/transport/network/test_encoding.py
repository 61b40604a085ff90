from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from fedbench.codec import heads
from fedbench.codec.wire import MAX_HEAD_BYTES
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.network.encoding import Encoder

SMALL = ModelState.from_arrays({"w": np.ones(100, np.float32)}, 1)
LARGE = ModelState.from_arrays({"w": np.ones(MAX_HEAD_BYTES, np.uint8)}, 1)
PUSH = Message(Kind.MODEL_PUSH, "server", "alice", "model", None, SMALL, sent_ns=5)


@pytest.fixture
def encoded(monkeypatch):
    """How often a message was really encoded."""
    counted = []
    encode = heads.encode
    monkeypatch.setattr(heads, "encode", lambda *given: counted.append(given) or encode(*given))
    return counted


def message_of(encoded):
    return heads.decode(memoryview(encoded.head)).message("b", "a", 1)


def test_a_broadcast_is_encoded_once(encoded):
    encoder = Encoder()
    all_of_them = [encoder.encode(replace(PUSH, target=f"client {number}")) for number in range(5)]
    assert len(encoded) == 1
    assert all(one is all_of_them[0] for one in all_of_them)
    assert message_of(all_of_them[0]).tensors == SMALL


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": ModelState.from_arrays({"w": np.zeros(100, np.float32)}, 1)},
        {"tensors": SMALL.with_version(2)},
        {"tensors": None},
        {"kind": Kind.CLIENT_NOTIFY},
        {"method": "another"},
        {"body": 1},
        {"correlation_id": 1},
        {"deadline_ns": 1},
        {"sent_ns": 6},
        {"intended_ns": 1},
    ],
)
def test_what_differs_is_encoded_anew(change):
    encoder = Encoder()
    encoder.encode(PUSH)
    changed = replace(PUSH, **change)
    arrived = message_of(encoder.encode(changed))
    assert arrived == replace(changed, source="a", target="b")
    assert (arrived.tensors and arrived.tensors.version) == (changed.tensors and changed.tensors.version)


def test_large_models_are_not_remembered(encoded):
    encoder = Encoder()
    for _ in range(2):
        encoder.encode(replace(PUSH, tensors=LARGE))
    assert len(encoded) == 2


def test_bodies_that_may_change_are_not_remembered(encoded):
    encoder, body = Encoder(), [1]
    first = encoder.encode(replace(PUSH, body=body))
    body.append(2)
    second = encoder.encode(replace(PUSH, body=body))
    assert len(encoded) == 2
    assert [message_of(one).body for one in (first, second)] == [[1], [1, 2]]


def test_it_weighs_what_it_holds():
    assert Encoder().encode(PUSH).nbytes >= SMALL.nbytes
    large = Encoder().encode(replace(PUSH, tensors=LARGE))
    assert large.nbytes >= large.bulk.size == LARGE.nbytes
    call = Message(Kind.RPC_REQUEST, "a", "b", "ping", None)
    small = Encoder().encode(call)
    assert small.nbytes == len(small.head)
