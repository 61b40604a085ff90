"""StreamLink: the link of a connection where something on the way lets no WebSocket through."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from aiohttp import ClientError

from fedbench.errors import RemoteProtocolError
from fedbench.transport.network.link import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator

    from fedbench.clock import Clock
    from fedbench.codec.wire import Parts
    from fedbench.transport.network.link import Owner


class Stream(Protocol):
    """What frames go through, of a server or a client."""

    async def receive(self) -> bytes | None:
        """Return the next frame, None if it is over.

        Raises:
            RemoteProtocolError: What came is no frame.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Send a frame; wait while the other side takes no more.

        Raises:
            OSError, ClientError: It broke.
        """
        ...

    async def close(self) -> None:
        """Close it in order."""
        ...

    def abort(self) -> None:
        """Cut it at once."""
        ...


class _Turn:
    """Awaited, it lets everything else run once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class StreamLink:
    """Reads and writes one stream.

    The reader always reads, so that a slow handler neither stops the heartbeat nor blocks the peer. The one
    writer asks its owner for each frame when the last has gone: what is urgent is never behind a queue.

    Args:
        stream: The stream.
        owner: Whose frames it carries.
        clock: Time.

    Attributes:
        heard_ns: Monotonic time of the last frame that came.
        over: Done when it is over.
    """

    def __init__(self, stream: Stream, owner: Owner, clock: Clock) -> None:
        self._stream = stream
        self._owner: Owner | None = owner
        self._clock = clock
        self._wakeup: asyncio.Future[None] | None = None
        self._last: deque[Parts] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_ns = clock.now_ns()

    def wake(self) -> None:
        """There is something to be sent."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    flush = wake

    def finish(self, last: list[Parts]) -> None:
        """Send these frames, then close in order. The owner is neither asked nor told any more."""
        self._owner = None
        self._last = deque(last)
        self.run()
        self.wake()

    def abort(self) -> None:
        """Cut it at once; it is over soon, even if a frame on its way is taken by nobody."""
        self._owner = None
        self._stream.abort()
        if self._writer is not None:
            self._writer.cancel()
        if self._reader is None and not self.over.done():
            self.over.set_result(None)

    def run(self) -> None:
        """Begin to read and write; idempotent."""
        if self._reader is None and not self.over.done():
            loop = asyncio.get_running_loop()
            self._writer = loop.create_task(self._write())
            self._reader = loop.create_task(self._carry(self._writer))

    async def _carry(self, writer: asyncio.Task[None]) -> None:
        try:
            await self._read()
            if self._last is None:
                writer.cancel()
            await asyncio.wait((writer,))
        finally:
            writer.cancel()
            self._stream.abort()
            self.over.set_result(None)

    async def _read(self) -> None:
        try:
            while (frame := await self._stream.receive()) is not None:
                self.heard_ns = self._clock.now_ns()
                if self._owner is not None:
                    self._owner.frame_came(self, memoryview(frame))
        except RemoteProtocolError as error:
            if self._owner is not None:
                self._owner.frame_refused(self, str(error))

    async def _write(self) -> None:
        try:
            while (frame := self._next()) is not None or await self._more():
                if frame is not None:
                    await self._stream.send(b"".join(frame))
                    if len(frame[-1]) > LARGE_BYTES:
                        await _Turn()
            await self._stream.close()
        except (OSError, ClientError):
            self._stream.abort()  # it broke: the reader ends, too

    def _next(self) -> Parts | None:
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
