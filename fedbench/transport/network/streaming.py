"""Streaming: a link without a WebSocket, where something on the way lets none through.

Frames go down as server-sent events, in base64 as those are text, and up as the bodies of POSTs, one after
the other. It is slower than a WebSocket and carries the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionError, ClientError

from fedbench.codec.wire import MAX_FRAME_BYTES
from fedbench.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse, ClientSession, web

SESSION_HEADER = "X-Fedbench-Session"
CLIENT_HEADER = "X-Fedbench-Client"
EVENT_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
READ_BYTES = 1 << 20
QUEUED = 4

_PREFIX, _END = b"data: ", b"\n\n"


def encode_event(frame: bytes) -> bytes:
    """Return a frame as an event."""
    return b"".join((_PREFIX, base64.b64encode(frame), _END))


def decode_event(line: bytes) -> bytes | None:
    """Return the frame that a line of a stream of events holds, None if it holds none.

    Raises:
        RemoteProtocolError: It is no base64.
    """
    if not line.startswith(_PREFIX):
        return None
    try:
        return base64.b64decode(line[len(_PREFIX) :].strip(), validate=True)
    except binascii.Error as error:
        raise RemoteProtocolError(f"an event is no frame: {error}") from error


def to_header(secret: bytes) -> str:
    """Return the secret of a session as the value of a header."""
    return base64.urlsafe_b64encode(secret).decode()


class ServerStream:
    """The server's end: events down, and what POSTs bring up.

    Args:
        request: What asked for events.
        response: The stream of events.
        secret: Secret of the session, which every POST shows.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, secret: bytes) -> None:
        self._request = request
        self._response = response
        self._shown = to_header(secret)
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(QUEUED)
        self._over = False

    @property
    def shown(self) -> str:
        """What a POST shows to be let in."""
        return self._shown

    async def feed(self, frame: bytes) -> None:
        """Take a frame that a POST brought; wait while those before are not taken, or the stream is over."""
        await self._room.acquire()
        if self._over:
            self._room.release()  # the next that waits
        else:
            self._came.put_nowait(frame)

    async def receive(self) -> bytes | None:
        """Return the next frame, None if it is over."""
        frame = await self._came.get()
        self._room.release()
        return frame

    async def send(self, frame: bytes) -> None:
        """Send a frame as an event."""
        await self._response.write(encode_event(frame))

    async def close(self) -> None:
        """End the stream."""
        self._end()
        await self._response.write_eof()

    def abort(self) -> None:
        """Cut the connection under it; idempotent."""
        if self._request.transport is not None:
            self._request.transport.abort()
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._came.put_nowait(None)
            self._room.release()


class ClientStream:
    """The client's end.

    Args:
        http: What requests go through.
        response: The stream of events.
        url: Where frames are posted.
        headers: What every POST shows.
    """

    def __init__(
        self, http: ClientSession, response: ClientResponse, url: str, headers: Mapping[str, str]
    ) -> None:
        self._http = http
        self._response = response
        self._url = url
        self._headers = headers

    async def receive(self) -> bytes | None:
        """Return the next frame, None if it is over.

        Raises:
            RemoteProtocolError: An event is none.
        """
        try:
            while line := await self._response.content.readline():
                frame = decode_event(line)
                if frame is not None:
                    return frame
        except (ClientError, OSError, ValueError):
            pass  # cut, or a line that no server sends: the link is over either way
        return None

    async def send(self, frame: bytes) -> None:
        """Post a frame.

        Raises:
            ClientError: The server cannot be reached, or does not take it.
        """
        async with self._http.post(self._url, data=frame, headers=self._headers) as answer:
            if answer.status != HTTPStatus.NO_CONTENT:
                raise ClientConnectionError(f"a frame was answered with HTTP status {answer.status}")

    async def close(self) -> None:
        """End the stream."""
        self._response.close()

    def abort(self) -> None:
        """Cut it at once."""
        self._response.close()


async def read_frame(request: web.Request) -> bytes:
    """Return the frame that a POST brings.

    Raises:
        RemoteProtocolError: It is larger than any frame, or does not say how large it is.
    """
    length = request.content_length
    if length is None or length > MAX_FRAME_BYTES:
        raise RemoteProtocolError(f"a POST of {length} bytes is oversized: {MAX_FRAME_BYTES} is the most")
    return await request.content.readexactly(length)
