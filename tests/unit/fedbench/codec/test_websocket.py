from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.websocket import Deframer, Opcode, apply_mask, encode_header, encode_masked
from fedbench.errors import RemoteProtocolError

MOST = 70_000
MASK = b"\x01\x80\xff\x3c"


def framed(opcode, payload, *, mask=b"", final=True):
    data = bytearray(payload)
    if mask:
        apply_mask(memoryview(data), mask)
    header = bytearray(encode_header(opcode, len(payload), mask))
    header[0] &= 0xFF if final else 0x7F
    return bytes(header + data)


def received(data, *, masked=False, cuts=()):
    """What a deframer makes of bytes that come cut at these places."""
    deframer = Deframer(masked=masked, most_bytes=MOST)
    got = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        piece = data[start:end]
        space = deframer.space()
        if space is not None and 0 < len(piece) <= len(space):
            space[: len(piece)] = piece
            came = deframer.filled(len(piece))
        else:
            buffer = memoryview(bytearray(piece))
            whole = deframer.whole(buffer)
            if whole is not None:
                came = [(Opcode.BINARY, whole)]
            else:
                assert buffer == piece  # it has left everything to be fed
                came = deframer.feed(buffer)
        got += [(opcode, bytes(payload)) for opcode, payload in came]
    return got


payloads = st.one_of(
    st.binary(max_size=8), st.integers(0, MOST).map(lambda n: bytes(n % 251 for n in range(n)))
)
messages = st.lists(st.tuples(st.sampled_from([Opcode.BINARY, Opcode.TEXT]), payloads), max_size=4)


@given(st.data(), messages, st.booleans())
def test_messages_come_as_they_went_wherever_they_are_cut(draw, sent, masked):
    data = b"".join(framed(opcode, payload, mask=MASK if masked else b"") for opcode, payload in sent)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    assert received(data, masked=masked, cuts=cuts) == sent


@given(st.binary(max_size=700), st.binary(min_size=4, max_size=4))
def test_a_mask_is_applied_byte_by_byte(data, mask):
    masked = bytearray(data)
    apply_mask(memoryview(masked), mask)
    assert bytes(masked) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


@given(st.lists(st.binary(max_size=700), max_size=3), st.binary(min_size=4, max_size=4))
def test_a_masked_message_of_several_parts_is_one_frame(parts, mask):
    data = b"".join(parts)
    assert encode_masked(Opcode.BINARY, parts, mask) == framed(Opcode.BINARY, data, mask=mask)


@given(messages, st.booleans())
def test_aiohttp_reads_what_is_written_here(sent, masked):
    async def read():
        class Socket:
            transport = None
            _reading_paused = False

            def pause_reading(self):
                pass

            resume_reading = pause_reading

        queue = WebSocketDataQueue(Socket(), 1 << 30, loop=asyncio.get_running_loop())
        reader = WebSocketReader(queue, MOST + 1, compress=False, decode_text=False)
        for opcode, payload in sent:
            reader.feed_data(framed(opcode, payload, mask=MASK if masked else b""))
        return [await queue.read() for _ in sent]

    kinds = {WSMsgType.BINARY: Opcode.BINARY, WSMsgType.TEXT: Opcode.TEXT}
    assert [(kinds[message.type], bytes(message.data)) for message in asyncio.run(read())] == sent


def test_dribbled_bytes_are_put_together():
    data = framed(Opcode.BINARY, b"x" * 300, mask=MASK) + framed(Opcode.PING, b"y", mask=MASK)
    got = received(data, masked=True, cuts=range(1, len(data)))
    assert got == [(Opcode.BINARY, b"x" * 300), (Opcode.PING, b"y")]


@pytest.mark.parametrize(("masked", "first_bytes"), [(False, 129), (True, 133)])
def test_the_beginning_of_a_long_message_is_none_of_127_bytes(masked, first_bytes):
    payload = b"x" * MOST  # whose header says 127, which means that the size follows
    data = framed(Opcode.BINARY, payload, mask=MASK if masked else b"")
    assert received(data, masked=masked, cuts=[first_bytes]) == [(Opcode.BINARY, payload)]


def test_a_masked_message_to_a_client_is_none_of_more_bytes():
    with pytest.raises(RemoteProtocolError, match="is masked"):
        received(bytes([0x82, 0x80 | 10]) + bytes(128 + 10))


def test_a_message_in_pieces_is_put_together_and_a_ping_may_come_between():
    data = (
        framed(Opcode.BINARY, b"one", final=False)
        + framed(Opcode.PING, b"?")
        + framed(Opcode.CONTINUATION, b"two", final=False)
        + framed(Opcode.CONTINUATION, b"")
        + framed(Opcode.BINARY, b"next")
    )
    assert received(data) == [(Opcode.PING, b"?"), (Opcode.BINARY, b"onetwo"), (Opcode.BINARY, b"next")]


BAD = [
    (b"\xc2\x00", "no WebSocket frame begins with c2"),
    (b"\x83\x00", "no WebSocket frame begins with 83"),
    (framed(Opcode.BINARY, b"x", mask=MASK), "is masked"),
    (framed(Opcode.PING, b"x" * 126), "control frame is too long"),
    (framed(Opcode.CLOSE, b"", final=False), "in pieces"),
    (framed(Opcode.CONTINUATION, b"x"), "out of order"),
    (framed(Opcode.BINARY, b"x", final=False) * 2, "out of order"),
    (encode_header(Opcode.BINARY, MOST + 1), f"{MOST + 1} bytes is oversized"),
    (encode_header(Opcode.BINARY, (1 << 63) - 1), "is oversized"),
    (
        framed(Opcode.BINARY, b"x" * MOST, final=False) + framed(Opcode.CONTINUATION, b"x"),
        f"{MOST + 1} bytes is oversized",
    ),
]


@pytest.mark.parametrize(("data", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_what_is_no_frame_is_named(data, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        received(data)


def test_a_client_must_mask():
    with pytest.raises(RemoteProtocolError, match="is not masked"):
        received(framed(Opcode.BINARY, b"hello"), masked=True)


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_frames_or_refused(data, masked):
    with contextlib.suppress(RemoteProtocolError):
        received(data, masked=masked)
