from __future__ import annotations

import contextlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec import heads
from fedbench.codec.heads import decode, encode
from fedbench.codec.wire import MAX_HEAD_BYTES
from fedbench.errors import LocalProtocolError, RemoteProtocolError, TensorStoreFull
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HeapStore

integers = st.integers(-(2**63), 2**64 - 1)
bodies = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=10,
)
models = st.none() | st.builds(
    lambda shape, dtype, version: ModelState.from_arrays(
        {"w": np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), "b": np.ones(3)}, version
    ),
    st.sampled_from([(), (1,), (0, 3), (30, 5)]),
    st.sampled_from(["?", "i1", "u2", "f2", "f4", "f8", "c16"]),
    st.integers(0, 5),
)


def through(message, chunk_bytes=100):
    head, parts = encode(message, message.body)
    assert len(head) <= MAX_HEAD_BYTES
    assembly = decode(memoryview(head))
    arrived, offset = (None, 0) if parts else (assembly, 0)
    for part in parts:
        for start in range(0, len(part), chunk_bytes):
            assert arrived is None
            chunk = part[start : start + chunk_bytes]
            arrived = assembly.feed(offset, chunk)
            offset += len(chunk)
            assert assembly.received == offset
    assert arrived.nbytes == offset
    return arrived.message("b", "a", 3)


@given(bodies, models, st.sampled_from(list(Kind)), st.text(max_size=30), st.integers(1, 200))
def test_messages_come_back_as_they_went(body, model, kind, method, chunk_bytes):
    message = Message(kind, "a", "b", method, body, model, 7, 8, 3, 0, 9, 10)
    back = through(message, chunk_bytes)
    assert back == message
    if model is not None:
        assert back.tensors.version == model.version
        assert back.tensors["w"].ctypes.data % 64 == 0
        assert not back.tensors["w"].flags.writeable


def test_what_is_too_large_for_a_head_travels_in_the_bulk():
    model = ModelState.from_arrays({f"layer {n}": np.full(2, n) for n in range(3000)}, 4)
    message = Message(Kind.MODEL_PUSH, "a", "b", "model", [b"x" * 70_000], model)
    head, parts = encode(message, message.body)
    assert len(head) == 8
    assert len(parts) == 2
    back = through(message, 1000)
    assert back.body == message.body
    assert back.tensors == model


def test_the_values_of_a_small_model_travel_behind_its_head():
    model = ModelState.from_arrays({"w": np.arange(2500, dtype=np.float32)}, 2)
    message = Message(Kind.MODEL_PUSH, "a", "b", "model", None, model)
    head, parts = encode(message, None)
    assert not parts
    assert head.endswith(model.buffer)
    assert through(message).tensors == model
    full = ModelState.from_arrays({"w": np.zeros(MAX_HEAD_BYTES // 4, np.float32)})
    assert encode(Message(Kind.MODEL_PUSH, "a", "b", tensors=full), None).bulk == (full.buffer,)


def test_the_values_of_a_large_model_are_not_copied_by_the_sender():
    model = ModelState.from_arrays({"w": np.ones(5000)})
    _, (part,) = encode(Message(Kind.MODEL_PUSH, "a", "b", tensors=model), None)
    assert np.shares_memory(np.frombuffer(part, np.uint8), np.frombuffer(model.buffer, np.uint8))


def test_times_are_shifted_to_the_receivers_and_missing_ones_stay_missing():
    head, _ = encode(Message(Kind.DATA, "a", "b", deadline_ns=100, sent_ns=50), 1)
    back = decode(memoryview(head)).message("b", "a", 1, shift_ns=1000)
    assert (back.deadline_ns, back.sent_ns, back.intended_ns) == (1100, 1050, 0)


@pytest.mark.parametrize(
    ("message", "body", "reason"),
    [
        (Message(Kind.DATA, "a", "b", "m" * 513), None, "method name"),
        (Message(Kind.DATA, "a", "b"), 2**64, "cannot be encoded"),
        (Message(Kind.DATA, "a", "b"), "\ud800", "cannot be encoded"),
    ],
)
def test_what_cannot_travel_is_refused_here(message, body, reason):
    with pytest.raises(LocalProtocolError, match=reason):
        encode(message, body)


def test_a_body_beyond_its_limit_is_refused_on_both_sides(monkeypatch):
    monkeypatch.setattr(heads, "MAX_BODY_BYTES", 50_000)
    with pytest.raises(LocalProtocolError, match="exceeds the limit of 50000"):
        encode(Message(Kind.DATA, "a", "b"), b"x" * 60_000)
    with pytest.raises(RemoteProtocolError, match="claims 60000 bytes of bulk for itself"):
        decode(memoryview(heads._PREFIX.pack(0, 60_000)))


def head_of(**changes):
    fields = {"kind": 5, "method": "", "correlation_id": 0, "deadline_ns": 0, "sent_ns": 0, "intended_ns": 0}
    return in_frame(msgspec.msgpack.encode(heads.Head(**fields | {"body": None} | changes)))


def in_frame(head, values=b""):
    return memoryview(heads._PREFIX.pack(len(head), 0) + head + values)


def layout_of(*entries):
    return msgspec.msgpack.encode(entries)


TWO = layout_of(("w", (2,), "<f4"))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (memoryview(b"short"), "truncated"),
        (in_frame(b"\xc1"), "cannot be read"),
        (in_frame(b""), "cannot be read"),
        (in_frame(b"head")[:-1], "claims to have 12: truncated"),
        (memoryview(heads._PREFIX.pack(0, 1) + b"more"), "for itself"),
        (memoryview(heads._PREFIX.pack(1, 1)), "for itself"),
        (memoryview(bytes(head_of()) + b"x"), "1 bytes came with a head that claims 0"),
        (memoryview(bytes(head_of(layout=TWO, nbytes=64)) + bytes(63)), "63 bytes came .* claims 64"),
        (head_of(kind=99), "no kind of message with number 99"),
        (head_of(kind=-1), "no kind of message"),
        (head_of(nbytes=64), "without a layout"),
        (head_of(layout=layout_of(("w", (2,), "|O")), nbytes=64), "only native numbers"),
        (head_of(layout=layout_of(("w", (-2,), "<f4")), nbytes=64), "the shape"),
        (head_of(layout=layout_of(("w", (1 << 62,), "<f8")), nbytes=64), "the shape"),
        (head_of(layout=layout_of(("w", (2,), "<f4")), nbytes=128), "claims 128 bytes"),
        (head_of(layout=layout_of(("w", (2,), "<f4")), nbytes=-64), "claims -64 bytes"),
        (head_of(layout=layout_of(("w", (2,), "<f4")), nbytes=64, version=-1), "version -1"),
        (head_of(layout=layout_of(("w", (1 << 36,), "|i1")), nbytes=64), "claims 64 bytes"),
        (head_of(layout=layout_of(("w", (1 << 37,), "|i1")), nbytes=1 << 37), "is the most"),
        (head_of(layout=b"junk", nbytes=4), "layout cannot be read"),
    ],
)
def test_a_head_that_lies_is_refused_by_name(head, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        decode(head)


@pytest.mark.parametrize(
    ("offset", "length", "reason"), [(8, 8, "0 is the next"), (0, 65, "exceeds the 64 bytes")]
)
def test_chunks_out_of_place_or_beyond_the_claim_are_refused(offset, length, reason):
    assembly = decode(head_of(layout=TWO, nbytes=64))
    with pytest.raises(RemoteProtocolError, match=reason):
        assembly.feed(offset, memoryview(bytes(length)))


@given(st.binary(max_size=60))
def test_anything_else_is_refused_by_name(data):
    for payload in (memoryview(data), in_frame(data), in_frame(data[:9], data[9:])):
        with contextlib.suppress(RemoteProtocolError):
            decode(payload)


class Store(HeapStore):
    def __init__(self, error):
        self.error = error

    def allocate(self, layout):
        raise self.error


def test_no_memory_is_the_peers_fault_and_a_full_store_is_named():
    head = head_of(layout=layout_of(("w", (2,), "<f4")), nbytes=64)
    with pytest.raises(RemoteProtocolError, match="no memory for a model of 64 bytes"):
        decode(head, Store(MemoryError()))
    with pytest.raises(TensorStoreFull):
        decode(head, Store(TensorStoreFull("full")))
