"""Link: one WebSocket that carries the frames of a connection, until it breaks."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from aiohttp import ClientError, WebSocketError, WSMsgType

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiohttp import WSMessage

    from fedbench.clock import Clock


LARGE_BYTES = 64 << 10
"""Behind a frame of this size everything else gets its turn: the kernel may take a whole model at once."""


class Socket(Protocol):
    """A WebSocket, of a server or a client."""

    async def receive(self) -> WSMessage:
        """Return the next message, or that it is over."""
        ...

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message; wait while the kernel takes no more."""
        ...

    async def close(self) -> object:
        """Close it in order."""
        ...


class Carrier(Protocol):
    """What carries the frames of a connection, for the connection."""

    heard_ns: int

    def wake(self) -> None:
        """There is something to be sent."""
        ...

    def finish(self, last: list[bytes]) -> None:
        """Send these frames, then end in order."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


class Owner(Protocol):
    """Whose frames a link carries."""

    def next_frame(self) -> bytes | None:
        """Return what is to be sent next; None if there is nothing: the link is woken when there is."""
        ...

    def frame_came(self, link: Link, data: bytes) -> None:
        """Take a frame. It must not raise."""
        ...

    def frame_refused(self, link: Link, reason: str) -> None:
        """What came is no frame: too large, text, or no WebSocket message at all. It must not raise."""
        ...


class _Turn:
    """Awaited, it lets everything else run once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Link:
    """Reads and writes one WebSocket.

    The reader always reads, so that a slow handler neither stops the heartbeat nor blocks the peer. The one
    writer asks its owner for each frame when the last has gone: what is urgent is never behind a queue.

    Args:
        socket: The WebSocket.
        abort: Cuts it at once.
        owner: Whose frames it carries.
        clock: Time.

    Attributes:
        heard_ns: Monotonic time of the last frame that came.
        over: Done when :meth:`run` has returned.
    """

    def __init__(self, socket: Socket, abort: Callable[[], None], owner: Owner, clock: Clock) -> None:
        self._socket = socket
        self._abort = abort
        self._owner: Owner | None = owner
        self._clock = clock
        self._wakeup: asyncio.Future[None] | None = None
        self._last: deque[bytes] | None = None
        self._writer: asyncio.Task[None] | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_ns = clock.now_ns()

    def wake(self) -> None:
        """There is something to be sent."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def finish(self, last: list[bytes]) -> None:
        """Send these frames, then close in order. The owner is neither asked nor told any more."""
        self._owner = None
        self._last = deque(last)
        self.wake()

    def abort(self) -> None:
        """Cut it at once; :meth:`run` returns soon, even if a frame on its way is taken by nobody."""
        self._owner = None
        self._abort()
        if self._writer is not None:
            self._writer.cancel()

    def abandon(self) -> None:
        """Cut it instead of running it."""
        self.abort()
        self.over.set_result(None)

    async def run(self) -> None:
        """Read and write until the WebSocket is over, from whichever side and for whatever reason."""
        self._writer = writer = asyncio.get_running_loop().create_task(self._write())
        try:
            await self._read()
            if self._last is None:
                writer.cancel()
            await asyncio.wait((writer,))
        finally:
            writer.cancel()
            self._abort()
            self.over.set_result(None)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT or isinstance(message.data, WebSocketError):
                what = "a text" if message.type is WSMsgType.TEXT else str(message.data)
                if self._owner is not None:
                    self._owner.frame_refused(self, f"{what} came instead of a frame")
                return
            if message.type is not WSMsgType.BINARY:
                return
            self.heard_ns = self._clock.now_ns()
            if self._owner is not None:
                self._owner.frame_came(self, message.data)

    async def _write(self) -> None:
        try:
            while (frame := self._next()) is not None or await self._more():
                if frame is not None:
                    await self._socket.send_bytes(frame)
                    if len(frame) > LARGE_BYTES:
                        await _Turn()
            await self._socket.close()
        except (OSError, ClientError):
            self._abort()  # it broke: the reader ends, too

    def _next(self) -> bytes | None:
        if self._last is not None:
            return self._last.popleft() if self._last else None
        return None if self._owner is None else self._owner.next_frame()

    async def _more(self) -> bool:
        """Wait until there may be something to send; False if nothing will come any more."""
        if self._last is None:
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
            self._wakeup = None
        return bool(self._last) or self._last is None
