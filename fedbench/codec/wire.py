"""Wire: the frames of network mode, each one binary message of a WebSocket. Pure.

A frame is a header and a payload. A message travels as one ``HEAD`` and, if it holds a model or is large, as
``CHUNK`` frames behind it; frames of other lanes may come between them. Every header tells what its sender
has received and applied so far, as totals: none is needed twice, and a lost one is made up for by the next.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

import msgspec

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
_pack, _unpack_from = _HEADER.pack, _HEADER.unpack_from


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


Told = tuple[int, int, int, int, int, int]
"""What every frame tells, in totals since the session began: control items, news and business items that came
in full; up to which control and which business message all were applied without an error; and ``DATA``
messages that somebody took out of the inbox, less those that lay in it at the start.
"""
NOTHING_TOLD: Told = (0, 0, 0, 0, 0, 0)


class Frame(msgspec.Struct, frozen=True, gc=False):
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
    return _pack(MAGIC, kind, lane, number, offset, *told), payload


def decode_frame(data: memoryview) -> Frame:
    """Return the frame that ``data`` is; its payload is a view.

    Raises:
        RemoteProtocolError: It is none: truncated, oversized, of a foreign kind or lane, or a chunk of
            nothing. The message says which.
    """
    if len(data) < HEADER_BYTES:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes is truncated: a header has {HEADER_BYTES}")
    header = _unpack_from(data)
    magic, kind, lane, number, offset = header[:5]
    if magic != MAGIC or kind not in _MOST_BYTES or lane >= LANES:
        raise RemoteProtocolError(
            f"no frame begins with {data[:4].hex()}: the peer is another version or broken"
        )
    payload = data[HEADER_BYTES:]
    nbytes = len(payload)
    if nbytes > _MOST_BYTES[kind]:
        raise RemoteProtocolError(
            f"a {FrameType(kind).name} of {nbytes} bytes is oversized: {_MOST_BYTES[kind]} is the most"
        )
    if (number > 0) != (kind <= CHUNK) or (kind == CHUNK and not nbytes):
        raise RemoteProtocolError(
            f"a {FrameType(kind).name} of {nbytes} bytes with number {number} means nothing"
        )
    return Frame(kind, lane, number, offset, header[5:], payload)
