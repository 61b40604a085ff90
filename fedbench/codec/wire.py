"""Wire: the frames of network mode, each one binary message of a WebSocket. Pure.

A frame is a header and a payload. A message travels as one ``HEAD`` and, if it holds a model or is large, as
``CHUNK`` frames behind it; frames of other lanes may come between them. Every header tells what its sender
has received and applied so far, as totals: none is needed twice, and a lost one is made up for by the next.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from fedbench.errors import RemoteProtocolError

CHUNK_BYTES = 256 << 10
MAX_HEAD_BYTES = 32 << 10
MAX_REASON_BYTES = 2000
MAX_FRAME_BYTES = CHUNK_BYTES + (64 << 10)
"""What a WebSocket may take as one message."""
MAX_HANDSHAKE_BYTES = 4096
"""What a peer may send before it is authenticated."""

LANES = 3
MAGIC = 0xFC
# magic, type, lane, (pad), number, offset, received per lane, applied of control and business, consumed
_HEADER = Struct("<BBBxQQQQQQQq")
HEADER_BYTES = _HEADER.size


class FrameType(IntEnum):
    """What a frame is for."""

    HEAD = 1
    CHUNK = 2
    TOLD = 3
    GOODBYE = 4
    BEAT = 5
    """Tells as ``TOLD`` does, and asks for a frame at once."""


HEAD, CHUNK, TOLD, GOODBYE, BEAT = (int(kind) for kind in FrameType)
_MOST_BYTES = {HEAD: MAX_HEAD_BYTES, CHUNK: CHUNK_BYTES, TOLD: 0, GOODBYE: MAX_REASON_BYTES, BEAT: 0}


class Told(NamedTuple):
    """What every frame tells, in totals since the session began.

    Attributes:
        received: Items of each lane that came in full.
        control: Control messages of which all up to here were applied without an error.
        business: Business messages, likewise.
        consumed: ``DATA`` messages that somebody took out of the inbox, less those that lay in it at the
            start.
    """

    received: tuple[int, int, int] = (0, 0, 0)
    control: int = 0
    business: int = 0
    consumed: int = 0


class Frame(NamedTuple):
    """One frame.

    Attributes:
        kind: One of :class:`FrameType`.
        lane: Lane of a head or chunk.
        number: Number of the item in its lane, from 1; 0 for frames that belong to none.
        offset: Start of a chunk in the item's bulk, in bytes.
        told: What it tells beside.
        payload: The head, the chunk, or why the sender ends; a view of what was decoded.
    """

    kind: int
    lane: int
    number: int
    offset: int
    told: Told
    payload: memoryview


Parts = tuple[bytes | memoryview, ...]
"""A frame on its way out, in pieces that are sent one behind the other."""


def encode_frame(
    kind: int,
    told: Told,
    payload: bytes | memoryview = b"",
    *,
    lane: int = 0,
    number: int = 0,
    offset: int = 0,
) -> Parts:
    """Return a frame as its header and its payload, which is not copied; see :class:`Frame`.

    Raises:
        ValueError: The payload is longer than a frame of that type may carry.
    """
    if len(payload) > _MOST_BYTES[kind]:
        raise ValueError(f"a payload of {len(payload)} bytes does not fit: {_MOST_BYTES[kind]} is the most")
    header = _HEADER.pack(
        MAGIC, kind, lane, number, offset, *told.received, told.control, told.business, told.consumed
    )
    return header, payload


def decode_frame(data: bytes | memoryview) -> Frame:
    """Return the frame that ``data`` is.

    Raises:
        RemoteProtocolError: It is none: truncated, oversized, of a foreign kind or lane, or a chunk of
            nothing. The message says which.
    """
    if len(data) < HEADER_BYTES:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes is truncated: a header has {HEADER_BYTES}")
    magic, kind, lane, number, offset, control, news, business, *applied = _HEADER.unpack_from(data)
    if magic != MAGIC or kind not in _MOST_BYTES or lane >= LANES:
        raise RemoteProtocolError(
            f"no frame begins with {data[:4].hex()}: the peer is another version or broken"
        )
    payload = memoryview(data).toreadonly()[HEADER_BYTES:]
    if len(payload) > _MOST_BYTES[kind]:
        raise RemoteProtocolError(
            f"a {FrameType(kind).name} of {len(payload)} bytes is oversized: {_MOST_BYTES[kind]} is the most"
        )
    if (kind in (HEAD, CHUNK)) != (number > 0) or (kind == CHUNK and not payload):
        raise RemoteProtocolError(
            f"a {FrameType(kind).name} of {len(payload)} bytes with number {number} means nothing"
        )
    told = Told((control, news, business), *applied)
    return Frame(kind, lane, number, offset, told, payload)
