from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec import wire
from fedbench.codec.wire import BEAT, CHUNK, GOODBYE, HEAD, TOLD, Frame
from fedbench.errors import RemoteProtocolError
from tests.fakes.frames import decode_frame, encode_frame, told

totals = st.integers(0, 2**64 - 1)
tolds = st.tuples(totals, totals, totals, totals, totals, st.integers(-(2**63), 2**63 - 1))


@given(st.sampled_from([HEAD, CHUNK]), tolds, st.binary(min_size=1), st.integers(0, 2), totals, totals)
def test_frames_come_back_as_they_went(kind, told, payload, lane, number, offset):
    number = number or 1
    data = encode_frame(kind, told, payload, lane=lane, number=number, offset=offset)
    assert decode_frame(data) == Frame(kind, lane, number, offset, told, memoryview(payload))


def test_frames_that_belong_to_no_lane():
    for kind in (TOLD, BEAT):
        assert decode_frame(encode_frame(kind, told(consumed=-3))).told[-1] == -3
    assert bytes(decode_frame(encode_frame(GOODBYE, told(), b"why")).payload) == b"why"


@given(st.binary(max_size=200))
def test_anything_else_is_refused_by_name(data):
    with contextlib.suppress(RemoteProtocolError):
        decode_frame(data)


@given(tolds, st.binary(min_size=1, max_size=20), st.data())
def test_a_frame_that_was_damaged_is_refused_or_is_a_frame(told, payload, data):
    good = bytearray(encode_frame(HEAD, told, payload, number=1))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode_frame(good)


@pytest.mark.parametrize("length", [0, 1, wire.HEADER_BYTES - 1])
def test_a_truncated_header_is_refused(length):
    with pytest.raises(RemoteProtocolError, match="truncated"):
        decode_frame(encode_frame(TOLD, told())[:length])


@pytest.mark.parametrize(("place", "value"), [(0, 0), (1, 0), (1, 9), (2, 3)])
def test_a_foreign_magic_kind_or_lane_is_refused(place, value):
    data = bytearray(encode_frame(HEAD, told(), b"x", number=1))
    data[place] = value
    with pytest.raises(RemoteProtocolError, match="no frame begins with"):
        decode_frame(data)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (HEAD, wire.MAX_HEAD_BYTES),
        (CHUNK, wire.CHUNK_BYTES),
        (TOLD, 0),
        (GOODBYE, wire.MAX_REASON_BYTES),
        (BEAT, 0),
    ],
)
def test_a_payload_beyond_its_limit_is_refused_on_both_sides(kind, most):
    number = int(kind in (HEAD, CHUNK))
    data = encode_frame(kind, told(), b"x" * most, number=number)
    assert len(data) <= wire.MAX_FRAME_BYTES
    decode_frame(data)
    with pytest.raises(RemoteProtocolError, match="oversized"):
        decode_frame(data + b"x")
    with pytest.raises(ValueError, match="does not fit"):
        encode_frame(kind, told(), b"x" * (most + 1), number=number)


@pytest.mark.parametrize(
    "data",
    [
        encode_frame(HEAD, told(), b"x"),
        encode_frame(CHUNK, told(), b"", number=1),
        encode_frame(TOLD, told(), number=1),
        encode_frame(BEAT, told(), number=1),
    ],
)
def test_frames_that_mean_nothing_are_refused(data):
    with pytest.raises(RemoteProtocolError, match="means nothing"):
        decode_frame(data)
