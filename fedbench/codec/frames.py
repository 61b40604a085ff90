"""Frames: what one write to a queue carries. Pure.

A frame is a header and a payload, together at most :data:`MAX_FRAME_BYTES` (PIPE_BUF), so that the kernel
takes it whole or not at all: a peer killed at any instruction leaves whole frames behind it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from fedbench.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_FRAME_BYTES = 4096
MAGIC = 0xFB
_HEADER = Struct("<BBHIQ")  # magic, type, bytes of payload, CRC-32 of payload, acknowledged messages
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES


class FrameType(IntEnum):
    """What the payload is."""

    MESSAGE = 1
    NOTES = 2
    GOODBYE = 3


MESSAGE, NOTES, GOODBYE = int(FrameType.MESSAGE), int(FrameType.NOTES), int(FrameType.GOODBYE)


def frame(kind: int, payload: bytes, acknowledged: int) -> bytes:
    """Return a frame.

    Args:
        kind: One of :class:`FrameType`.
        payload: At most :data:`MAX_PAYLOAD_BYTES` bytes.
        acknowledged: How many messages of the other direction have been taken, from the connection's start.

    Raises:
        ValueError: The payload is too long.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes does not fit: {MAX_PAYLOAD_BYTES} is the most")
    return _HEADER.pack(MAGIC, kind, len(payload), crc32(payload), acknowledged) + payload


def framed_bytes(payloads: Iterable[bytes]) -> int:
    """Return how many bytes a frame for each of ``payloads`` takes."""
    return sum(HEADER_BYTES + len(payload) for payload in payloads)


class FrameReader:
    """Cuts a stream of bytes into frames, wherever it is split."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield type, acknowledged messages and payload of every frame that ``data`` completes.

        Raises:
            RemoteProtocolError: The bytes are no frames: a wrong magic number, type, length or checksum.
        """
        if self._rest:
            data = self._rest + data
        start, end = 0, len(data)
        while end - start >= HEADER_BYTES:
            magic, kind, length, checksum, acknowledged = _HEADER.unpack_from(data, start)
            if magic != MAGIC or not MESSAGE <= kind <= GOODBYE or length > MAX_PAYLOAD_BYTES:
                raise RemoteProtocolError(
                    f"no frame begins with {data[start : start + HEADER_BYTES].hex()}: the peer is another "
                    "version or broken"
                )
            stop = start + HEADER_BYTES + length
            if stop > end:
                break
            payload = data[start + HEADER_BYTES : stop]
            if crc32(payload) != checksum:
                raise RemoteProtocolError(f"a frame of {length} bytes has a wrong checksum")
            start = stop
            self._rest = data[start:]  # before the yield: whoever stops listening loses nothing
            yield kind, acknowledged, payload
        self._rest = data[start:]
