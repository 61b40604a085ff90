"""Frames: cut anywhere, refused when they are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameReader,
    FrameType,
    frame,
)
from fedbench.errors import RemoteProtocolError

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([int(kind) for kind in FrameType]),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=MAX_PAYLOAD_BYTES // 2),
        st.binary(max_size=MAX_PAYLOAD_BYTES // 2),
    ).map(lambda parts: Frame(*parts)),
    max_size=6,
)


@given(FRAMES, st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, data):
    stream = b"".join(frame(f.kind, f.payload, f.acknowledged, f.released, f.notes) for f in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader, found = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:stop])
    assert found == frames


def test_the_largest_frame_is_one_write_of_a_pipe():
    assert len(frame(FrameType.MESSAGE, bytes(MAX_PAYLOAD_BYTES), 0)) == MAX_FRAME_BYTES == 4096
    with pytest.raises(ValueError, match="does not fit"):
        frame(FrameType.MESSAGE, bytes(MAX_PAYLOAD_BYTES + 1), 0)


@pytest.mark.parametrize("position", [0, 1, 3, 5, HEADER_BYTES - 17, HEADER_BYTES, HEADER_BYTES + 4])
def test_a_flipped_bit_is_refused(position):
    data = bytearray(frame(FrameType.MESSAGE, b"payload", 7))
    data[position] ^= 0x80
    with pytest.raises(RemoteProtocolError, match="frame"):
        list(FrameReader().feed(bytes(data) + bytes(200)))


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_refused_by_name(data):
    try:
        for found in FrameReader().feed(data):
            assert found.kind in list(FrameType)
            assert len(found.notes) + len(found.payload) <= MAX_PAYLOAD_BYTES
    except RemoteProtocolError:
        pass
