"""Frames: what one write to a queue carries. Pure.

A frame is a header, notes and a payload, together at most :data:`MAX_FRAME_BYTES` (PIPE_BUF), so that the
kernel takes it whole or not at all: a peer killed at any instruction leaves whole frames behind it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from zlib import crc32

import msgspec

from fedbench.errors import RemoteProtocolError

MAX_FRAME_BYTES = 4096
MAGIC = 0xFB
# magic, type, bytes of content, of notes in it, its CRC-32, messages taken, lease released
_HEADER = Struct("<BBHHIQQ")
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES
_pack, _unpack_from = _HEADER.pack, _HEADER.unpack_from


class FrameType(IntEnum):
    """What a frame is for."""

    MESSAGE = 1
    NOTES = 2
    GOODBYE = 3


MESSAGE, NOTES, GOODBYE = int(FrameType.MESSAGE), int(FrameType.NOTES), int(FrameType.GOODBYE)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What a frame told.

    Attributes:
        kind: One of :class:`FrameType`.
        acknowledged: How many messages of the other direction have been taken, from the connection's start.
        released: Lease of the receiver's that the sender needs no more, 0 for none.
        notes: What else is told.
        payload: The message, or why the sender ends.
    """

    kind: int
    acknowledged: int
    released: int
    notes: bytes
    payload: bytes


def frame(kind: int, payload: bytes, acknowledged: int, released: int = 0, notes: bytes = b"") -> bytes:
    """Return a frame as bytes; see :class:`Frame`.

    Raises:
        ValueError: That is too long.
    """
    content = notes + payload
    nbytes = len(content)
    if nbytes > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {nbytes} bytes does not fit: {MAX_PAYLOAD_BYTES} is the most")
    return _pack(MAGIC, kind, nbytes, len(notes), crc32(content), acknowledged, released) + content


class FrameReader:
    """Cuts a stream of bytes into frames, wherever it is split."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return every frame that ``data`` completes.

        Raises:
            RemoteProtocolError: The bytes are no frames: a wrong magic number, type, length or checksum.
        """
        if self._rest:
            data = self._rest + data
        frames = []
        start, end = 0, len(data)
        while end - start >= HEADER_BYTES:
            magic, kind, length, notes, checksum, acknowledged, released = _unpack_from(data, start)
            if magic != MAGIC or not MESSAGE <= kind <= GOODBYE or not notes <= length <= MAX_PAYLOAD_BYTES:
                raise RemoteProtocolError(
                    f"no frame begins with {data[start : start + HEADER_BYTES].hex()}: the peer is another "
                    "version or broken"
                )
            stop = start + HEADER_BYTES + length
            if stop > end:
                break
            content = data[start + HEADER_BYTES : stop]
            if crc32(content) != checksum:
                raise RemoteProtocolError(f"a frame of {length} bytes has a wrong checksum")
            start = stop
            frames.append(Frame(kind, acknowledged, released, content[:notes], content[notes:]))
        self._rest = data[start:]
        return frames
