"""WebSocket: the link of a connection on a socket that aiohttp has opened and let go of.

aiohttp speaks HTTP up to the answer that switches protocols. From there on the link reads and writes the
socket itself: no queue and no task stand between it and its connection, models go out from where they lie,
and an idle client keeps nothing of the request that it began with.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from fedbench.codec.websocket import (
    CLOSE_NORMAL,
    MASK_BYTES,
    Deframer,
    Opcode,
    encode_header,
    encode_masked,
)
from fedbench.codec.wire import CHUNK_BYTES, MAX_FRAME_BYTES
from fedbench.errors import RemoteProtocolError
from fedbench.transport.network.link import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp import ClientResponse
    from aiohttp.base_protocol import BaseProtocol

    from fedbench.clock import Clock
    from fedbench.codec.websocket import Received
    from fedbench.codec.wire import Parts
    from fedbench.transport.network.link import Owner

VERSION = "13"
CLOSE_S = 1.0
DIRECT_BYTES = 32 << 10
"""The rest of a payload of at least this size is received where it comes to lie."""

_BINARY = int(Opcode.BINARY)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16


def _draw_masks() -> Iterator[bytes]:
    """Draw masks, which nobody can foresee (RFC 6455, section 5.3), many at a time."""
    while True:
        drawn = os.urandom(1024 * MASK_BYTES)
        yield from (drawn[at : at + MASK_BYTES] for at in range(0, len(drawn), MASK_BYTES))


class _OfThread(threading.local):
    """What all links of a thread share, as its loop takes every read before the next.

    Attributes:
        scratch: What they receive into.
        masks: What they mask with.
    """

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(CHUNK_BYTES + LARGE_BYTES))
        self.masks = _draw_masks()


_of_thread = _OfThread()


def upgrade_headers() -> dict[str, str]:
    """Return the headers with which a client asks for a WebSocket (RFC 6455, section 4.1)."""
    return {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_VERSION: VERSION,
        hdrs.SEC_WEBSOCKET_KEY: base64.b64encode(os.urandom(_KEY_BYTES)).decode(),
    }


def accept_headers(asked: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with which a server grants what a client asked for (RFC 6455, section 4.2).

    Raises:
        RemoteProtocolError: It asked for no WebSocket, or for another version.
    """
    key = asked.get(hdrs.SEC_WEBSOCKET_KEY, "")
    wanted = asked.get(hdrs.UPGRADE, "").lower(), asked.get(hdrs.SEC_WEBSOCKET_VERSION)
    try:
        valid = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except ValueError:
        valid = False
    if wanted != ("websocket", VERSION) or not valid:
        raise RemoteProtocolError(f"it asks for no WebSocket of version {VERSION}")
    accepted = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_ACCEPT: accepted.decode(),
    }


class Upgraded:
    """A socket on which both sides have agreed to speak WebSocket, and that aiohttp has let go of.

    Nothing is read from it until a link takes it.

    Args:
        transport: The socket.
        protocol: What aiohttp has for it: told that it is lost, it forgets all that it keeps for a request.
        came: What came right behind the request, or the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: BaseProtocol, came: bytes = b"") -> None:
        transport.pause_reading()
        transport.set_protocol(_Nobody())
        protocol.transport = None  # it would close it
        protocol.connection_lost(None)
        self.transport = transport
        self.came = came

    @classmethod
    def of_request(cls, request: web.Request) -> Upgraded | None:
        """Take the socket of a request that was granted a WebSocket, and what came right behind it.

        None if the client has gone.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            return None
        early = _Early()
        request.protocol.set_parser(early)  # type: ignore[arg-type]
        return cls(transport, request.protocol, early.data)

    @classmethod
    def of_response(cls, asked: Mapping[str, str], response: ClientResponse) -> Upgraded:
        """Take the socket of a server's answer.

        Raises:
            RemoteProtocolError: It has not switched to a WebSocket.
        """
        accepted = accept_headers(asked)[hdrs.SEC_WEBSOCKET_ACCEPT]
        connection = response.connection
        protocol = None if connection is None else connection.protocol
        if (
            protocol is None
            or protocol.transport is None
            or response.status != 101
            or response.headers.get(hdrs.SEC_WEBSOCKET_ACCEPT) != accepted
        ):
            raise RemoteProtocolError(f"HTTP status {response.status} does not begin a WebSocket")
        early = _Early()
        protocol.set_parser(early, None)
        upgraded = cls(protocol.transport, protocol, early.data)
        response.close()
        return upgraded

    def abort(self) -> None:
        """Cut it."""
        self.transport.abort()


class _Early:
    """Takes what came right behind a request or an answer."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes."""


class _Nobody(asyncio.Protocol):
    """Hears nothing."""


class WebSocketLink(asyncio.BufferedProtocol):
    """Carries the frames of a connection over a WebSocket, until it breaks.

    It always reads, so that a slow handler neither stops the heartbeat nor blocks the peer. It asks its owner
    for a frame only when the socket takes one: what is urgent is never behind a queue.

    Args:
        upgraded: The socket.
        owner: Whose frames it carries.
        clock: Time.
        client: Whether this end is the client, which masks what it sends.

    Attributes:
        heard_ns: Monotonic time at which something came.
        over: Done when the socket is closed.
    """

    def __init__(self, upgraded: Upgraded, owner: Owner, clock: Clock, *, client: bool) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self.heard_ns = clock.now_ns()
        self._loop = loop
        self._scratch, self._masks = _of_thread.scratch, _of_thread.masks
        self._now_ns = clock.now_ns
        self._owner: Owner | None = owner
        self._client = client
        self._transport = upgraded.transport
        self._came = upgraded.came
        self._deframer = Deframer(masked=not client, most_bytes=MAX_FRAME_BYTES)
        self._running = self._scheduled = self._full = self._closing = False
        self._direct = self._deaf = self._taking = False
        self._last: deque[Parts] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(2 * CHUNK_BYTES)

    # The connection's side ---------------------------------------------------------------------------

    def run(self) -> None:
        """Begin to read and write; idempotent."""
        if not self._running and not self.over.done():
            came, self._came = self._came, b""
            if came:
                self._take(memoryview(bytearray(came)))
            self._running = True
            if not self._transport.is_closing():
                self._transport.resume_reading()
            self.wake()

    def wake(self) -> None:
        """There is something to be sent: it is, in the next turn of the loop, with what comes until then."""
        if not self._scheduled and not self._full and self._running:
            self._scheduled = True
            if not self._taking:
                self._loop.call_soon(self._pump)

    def flush(self) -> None:
        """There is something to be sent: it is, now, or when everything was taken that has been received.

        Not before: a frame would tell of a message as applied whose handlers are still running.
        """
        if self._taking:
            self._scheduled = True
        elif self._running and not self._full:
            self._pump()

    def finish(self, last: list[Parts]) -> None:
        """Send these frames, then close in order. The owner is neither asked nor told any more."""
        if self._last is None:
            self._owner = None
            self._last = deque(last)
            self.run()
            self.wake()

    def abort(self) -> None:
        """Cut it at once; :attr:`over` is done soon."""
        self._owner = None
        self._transport.abort()

    # The socket's side -------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes are received into."""
        space = self._deframer.space()
        self._direct = False
        if space is None or len(space) < DIRECT_BYTES:
            return self._scratch
        self._direct = True
        return space

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self.heard_ns = self._now_ns()
        if self._deaf:
            return
        pumped_soon, self._taking = self._scheduled, True
        try:
            if self._direct:
                self._take_each(self._deframer.filled(nbytes))
            else:
                self._take(self._scratch[:nbytes])
        finally:
            self._taking = False
            if self._scheduled and not pumped_soon:  # one frame tells of all that has come
                self._pump()

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """It takes more."""
        self._full = False
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._owner = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.over.done():
            self.over.set_result(None)

    # Reading -----------------------------------------------------------------------------------------

    def _take(self, came: memoryview) -> None:
        payload = self._deframer.whole(came)
        if payload is None:
            self._take_each(came)
        elif self._owner is not None:
            self._owner.frame_came(self, payload)

    def _take_each(self, came: memoryview | list[Received]) -> None:
        """Take bytes, or the messages that they are."""
        try:
            for opcode, payload in came if isinstance(came, list) else self._deframer.feed(came):
                if opcode == Opcode.BINARY:
                    if self._owner is not None:
                        self._owner.frame_came(self, payload)
                elif opcode == Opcode.PING and not self._full:  # who reads nothing needs no answer
                    self._write(Opcode.PONG, (bytes(payload),))
                elif opcode == Opcode.CLOSE:
                    self._close()
                    self._transport.close()
                    return
                elif opcode == Opcode.TEXT:
                    raise RemoteProtocolError("a text came instead of a frame")
        except RemoteProtocolError as error:
            self._deaf = True
            if self._owner is not None:
                self._owner.frame_refused(self, str(error))

    # Writing -----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._scheduled = False
        next_frame = self._next_last if self._owner is None else self._owner.next_frame
        while not self._full:
            frame = next_frame()
            if frame is None:
                return
            self._write(_BINARY, frame)
            if len(frame[-1]) > LARGE_BYTES:
                self.wake()
                return

    def _next_last(self) -> Parts | None:
        if self._last is None:
            return None
        if self._last:
            return self._last.popleft()
        self._close()
        return None

    def _write(self, opcode: int, parts: Parts) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if self._client:
            transport.write(encode_masked(opcode, parts, next(self._masks)))
            return
        large = parts[-1]
        header = encode_header(opcode, sum(map(len, parts)))
        if len(large) <= LARGE_BYTES:
            transport.write(b"".join((header, *parts)))
        else:
            transport.write(b"".join((header, *parts[:-1])))
            transport.write(large)

    def _close(self) -> None:
        """Say that this side sends no more, and give the other one a second to say so, too."""
        if not self._closing:
            self._closing = True
            self._write(Opcode.CLOSE, (CLOSE_NORMAL,))
            self._timer = self._loop.call_later(CLOSE_S, self._transport.abort)
