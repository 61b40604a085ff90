"""Frames: cut anywhere, refused when they are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    FrameReader,
    FrameType,
    frame,
)
from fedbench.errors import RemoteProtocolError

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(list(FrameType)), st.integers(0, 2**64 - 1), st.binary(max_size=MAX_PAYLOAD_BYTES)
    ),
    max_size=6,
)


@given(FRAMES, st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, data):
    stream = b"".join(frame(kind, payload, count) for kind, count, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader, found = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:stop])
    assert found == [(int(kind), count, payload) for kind, count, payload in frames]


def test_the_largest_frame_is_one_write_of_a_pipe():
    assert len(frame(FrameType.MESSAGE, bytes(MAX_PAYLOAD_BYTES), 0)) == MAX_FRAME_BYTES == 4096
    with pytest.raises(ValueError, match="does not fit"):
        frame(FrameType.MESSAGE, bytes(MAX_PAYLOAD_BYTES + 1), 0)


@pytest.mark.parametrize("position", [0, 1, 3, HEADER_BYTES - 9, HEADER_BYTES, HEADER_BYTES + 4])
def test_a_flipped_bit_is_refused(position):
    data = bytearray(frame(FrameType.MESSAGE, b"payload", 7))
    data[position] ^= 0x80
    with pytest.raises(RemoteProtocolError, match="frame"):
        list(FrameReader().feed(bytes(data) + bytes(200)))


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_refused_by_name(data):
    try:
        for kind, _, payload in FrameReader().feed(data):
            assert kind in list(FrameType)
            assert len(payload) <= MAX_PAYLOAD_BYTES
    except RemoteProtocolError:
        pass


def test_who_stops_listening_loses_nothing():
    reader = FrameReader()
    stream = reader.feed(frame(1, b"one", 0) + frame(1, b"two", 0))
    assert next(stream)[2] == b"one"
    assert [payload for _, _, payload in reader.feed(b"")] == [b"two"]
