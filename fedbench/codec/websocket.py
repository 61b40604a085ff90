"""WebSocket frames (RFC 6455): bytes <-> messages, without extensions. Pure.

What comes is taken in place: a message is a view of where it was received, and only one that comes in several
pieces is put together elsewhere.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedbench.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

MASK_BYTES = 4
MAX_CONTROL_BYTES = 125
CLOSE_NORMAL = (1000).to_bytes(2, "big")

_FEW_BYTES = 512  # up to here one integer is faster than numpy
_FINAL, _MASKED, _RESERVED = 0x80, 0x80, 0x70
_TINY, _SHORT, _LONG = Struct(">BB"), Struct(">BBH"), Struct(">BBQ")
_LEAST_BYTES = _SHORT.size + MASK_BYTES


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_CONTROL = 8
_WHOLE = _FINAL | Opcode.BINARY
_KNOWN = frozenset(map(int, Opcode))


class Received(NamedTuple):
    """A message.

    Attributes:
        opcode: ``TEXT``, ``BINARY``, ``CLOSE``, ``PING`` or ``PONG``.
        payload: Its bytes, valid until more of them are received.
    """

    opcode: int
    payload: memoryview


def encode_header(opcode: int, nbytes: int, mask: bytes = b"") -> bytes:
    """Return the header of a message of ``nbytes`` bytes in one frame, with the mask if there is one."""
    first, masked = _FINAL | opcode, _MASKED if mask else 0
    if nbytes < 126:
        return _TINY.pack(first, masked | nbytes) + mask
    if nbytes < 1 << 16:
        return _SHORT.pack(first, masked | 126, nbytes) + mask
    return _LONG.pack(first, masked | 127, nbytes) + mask


def encode_masked(opcode: int, parts: Sequence[bytes | memoryview], mask: bytes) -> bytes | memoryview:
    """Return a message in one frame, header and masked payload."""
    nbytes = sum(map(len, parts))
    header = encode_header(opcode, nbytes, mask)
    if nbytes <= _FEW_BYTES:
        return header + _masked_few(b"".join(parts), mask)
    frame = memoryview(bytearray().join((header, *parts)))
    apply_mask(frame[len(header) :], mask)
    return frame


def apply_mask(data: memoryview, mask: bytes) -> None:
    """Mask writable bytes in place, or unmask them."""
    nbytes = len(data)
    if nbytes <= _FEW_BYTES:
        data[:] = _masked_few(data, mask)
        return
    whole = nbytes & -MASK_BYTES
    words = np.frombuffer(data[:whole], np.uint32)
    np.bitwise_xor(words, np.frombuffer(mask, np.uint32)[0], out=words)
    for at in range(whole, nbytes):
        data[at] ^= mask[at - whole]


def _masked_few(data: bytes | memoryview, mask: bytes) -> bytes:
    nbytes = len(data)
    repeated = int.from_bytes((mask * (nbytes // MASK_BYTES + 1))[:nbytes], "little")
    return (int.from_bytes(data, "little") ^ repeated).to_bytes(nbytes, "little")


class Deframer:
    """Takes the bytes of one direction and cuts them into messages, wherever they are split.

    Args:
        masked: Whether the peer masks what it sends, as clients must and servers must not.
        most_bytes: Size of the largest message.
    """

    def __init__(self, *, masked: bool, most_bytes: int) -> None:
        self._masked = masked
        self._most_bytes = most_bytes
        self._rest = b""  # a header that has not come in full
        self._frame: bytearray | None = None  # a payload that has not come in full
        self._filled = 0
        self._mask = b""
        self._opcode = 0
        self._final = True
        self._fragments: bytearray | None = None  # a message of several frames
        self._fragments_opcode = 0

    def space(self) -> memoryview | None:
        """Return where the rest of a payload can be received into at once, None if none has begun."""
        return None if self._frame is None else memoryview(self._frame)[self._filled :]

    def filled(self, nbytes: int) -> list[Received]:
        """So many bytes were received into :meth:`space`: return what that completes, as :meth:`feed`."""
        done: list[Received] = []
        self._fill(nbytes, done)
        return done

    def whole(self, data: memoryview) -> memoryview | None:
        """Return the payload of a short binary message that is all that came, as most are.

        None if it is anything else, which :meth:`feed` is to take; nothing has changed then.
        """
        if self._frame is not None or self._rest or self._fragments is not None:
            return None
        nbytes = len(data)
        if nbytes < _LEAST_BYTES or data[0] != _WHOLE:
            return None
        masked = self._masked
        size, at = data[1] - _MASKED if masked else data[1], 2
        if size == 126:
            size, at = data[2] << 8 | data[3], 4
        elif size > 126:  # a long one, or masked where none may be
            return None
        start = at + MASK_BYTES if masked else at
        if size != nbytes - start or size > self._most_bytes:
            return None
        payload = data[start:]
        if masked:
            apply_mask(payload, bytes(data[at:start]))
        return payload

    def feed(self, data: memoryview) -> list[Received]:
        """Take writable bytes, which are changed, and return every message that they complete.

        Raises:
            RemoteProtocolError: They are no WebSocket frames, or a message is too large; the message says
                which. Nothing that comes later means anything.
        """
        done: list[Received] = []
        frame = self._frame
        if frame is not None:
            part = min(len(frame) - self._filled, len(data))
            frame[self._filled : self._filled + part] = data[:part]
            self._fill(part, done)
            data = data[part:]
        if self._rest:
            data, self._rest = memoryview(bytearray(self._rest) + data), b""
        start, end = 0, len(data)
        while start < end:
            header = self._read_header(data, start, end - start)
            if header is None:
                self._rest = bytes(data[start:])
                break
            start, nbytes = header
            if end - start < nbytes:
                self._frame = bytearray(nbytes)
                self._filled = end - start
                self._frame[: self._filled] = data[start:]
                break
            self._complete(data[start : start + nbytes], done)
            start += nbytes
        return done

    def _fill(self, nbytes: int, done: list[Received]) -> None:
        frame = self._frame
        assert frame is not None
        self._filled += nbytes
        if self._filled == len(frame):
            self._frame = None
            self._complete(memoryview(frame), done)

    def _read_header(self, data: memoryview, start: int, left: int) -> tuple[int, int] | None:
        """Note what a header says; return where its payload begins and its size, None if more must come."""
        if left < _TINY.size:
            return None
        first, second = data[start], data[start + 1]
        nbytes, at = second & 0x7F, _TINY.size
        if nbytes == 126:
            at = _SHORT.size
        elif nbytes == 127:
            at = _LONG.size
        masked = self._masked
        if first != _WHOLE or self._fragments is not None or (second >= _MASKED) != masked:
            self._check(first, second, nbytes)
        size = at + MASK_BYTES if masked else at
        if left < size:
            return None
        if nbytes == 126:
            nbytes = _SHORT.unpack_from(data, start)[2]
        elif nbytes == 127:
            nbytes = _LONG.unpack_from(data, start)[2]
        so_far = 0 if self._fragments is None else len(self._fragments)
        if so_far + nbytes > self._most_bytes:
            raise RemoteProtocolError(
                f"a WebSocket message of {so_far + nbytes} bytes is oversized: {self._most_bytes} is the most"
            )
        self._opcode, self._final = first & 0x0F, first >= _FINAL
        self._mask = bytes(data[start + at : start + size])
        return start + size, nbytes

    def _check(self, first: int, second: int, nbytes: int) -> None:
        opcode, final = first & 0x0F, first & _FINAL
        if first & _RESERVED or opcode not in _KNOWN:
            raise RemoteProtocolError(f"no WebSocket frame begins with {first:02x}")
        if (second >= _MASKED) != self._masked:
            raise RemoteProtocolError(f"a WebSocket frame is {'not ' * self._masked}masked")
        if opcode >= _CONTROL and (nbytes > MAX_CONTROL_BYTES or not final):
            raise RemoteProtocolError("a WebSocket control frame is too long or in pieces")
        if opcode < _CONTROL and (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise RemoteProtocolError("the pieces of a WebSocket message are out of order")

    def _complete(self, payload: memoryview, done: list[Received]) -> None:
        if self._masked:
            apply_mask(payload, self._mask)
        opcode = self._opcode
        if opcode >= _CONTROL or (self._final and self._fragments is None):
            done.append(Received(opcode, payload))
            return
        if self._fragments is None:
            self._fragments, self._fragments_opcode = bytearray(), opcode
        self._fragments += payload
        if self._final:
            fragments, self._fragments = self._fragments, None
            done.append(Received(self._fragments_opcode, memoryview(fragments)))
