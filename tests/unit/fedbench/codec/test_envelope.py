"""Envelopes: messages come back as they were, whatever else is refused by name."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec import envelope as envelopes
from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Kind, Message, snapshot
from fedbench.tensors.store import Handle

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
BODIES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1), inner, max_size=4)
    ),
    max_leaves=12,
)
HANDLE = Handle("fb-0-1-2-3", 64, 100, 20, 5, 6, 7)


def round_trip(message: Message, bulk=None, tensors=None):
    return envelopes.decode(envelopes.encode(message, snapshot(message.body), bulk, tensors))


@given(BODIES)
def test_plain_data_comes_back_as_its_snapshot(body):
    assert envelopes.decode_body(envelopes.encode_body(snapshot(body))) == snapshot(body)


@given(st.sampled_from(list(Kind)), st.text(max_size=40), *[st.integers(0, 2**63)] * 4, BODIES)
def test_a_message_comes_back_without_its_ends(kind, method, one, two, three, four, body):
    message = Message(kind, "a", "b", method, body, None, one, two, 1, 0, three, four)
    envelope = round_trip(message)
    for name in ("method", "correlation_id", "deadline_ns", "sent_ns", "intended_ns"):
        assert getattr(envelope, name) == getattr(message, name)
    assert (envelopes.KINDS[envelope.kind], envelope.body) == (kind, snapshot(body))


def test_handles_travel_beside_the_body():
    envelope = round_trip(Message(Kind.DATA, "a", "b", body=[1]), tensors=HANDLE)
    assert (envelope.bulk, envelope.tensors) == (None, HANDLE)
    message = Message(Kind.DATA, "a", "b", body=[1])
    envelope = envelopes.decode(envelopes.encode(message, None, HANDLE, None))
    assert (envelope.bulk, envelope.body) == (HANDLE, None)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (2**64, "cannot be encoded"),
        ({"a": -(2**63) - 1}, "cannot be encoded"),
        ("\ud800", "cannot be encoded"),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_at_the_sender(body, named):
    with pytest.raises(LocalProtocolError, match=named):
        envelopes.encode_body(body)
    with pytest.raises(LocalProtocolError, match=named):
        envelopes.encode(Message(Kind.DATA, "a", "b"), body, None, None)


@pytest.mark.parametrize("body", [object(), {1, 2}, [lambda: None], {"a": object()}])
def test_what_is_not_plain_data_is_refused_by_its_type(body):
    with pytest.raises(LocalProtocolError, match="cannot carry"):
        snapshot(body)


def test_a_body_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(envelopes, "MAX_BODY_BYTES", 100)
    with pytest.raises(LocalProtocolError, match="exceeds the limit of 100"):
        envelopes.encode_body(b"x" * 101)


def test_a_long_method_name_is_refused():
    with pytest.raises(LocalProtocolError, match="up to 512 characters"):
        envelopes.encode(Message(Kind.DATA, "a", "b", "m" * 513), None, None, None)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x90", msgspec.msgpack.encode([99, "", 0, 0, 0, 0, None]), b"\x97" + b"\xff" * 7],
)
def test_what_is_no_envelope_is_refused(payload):
    with pytest.raises(RemoteProtocolError):
        envelopes.decode(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_and_a_body_or_refused_by_name(payload):
    for read in (envelopes.decode, envelopes.decode_body):
        with contextlib.suppress(RemoteProtocolError):
            read(payload)
