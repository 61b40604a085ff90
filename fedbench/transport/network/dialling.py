"""Dialling: how a client reaches its server."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import (
    ClientError,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    TCPConnector,
    WSServerHandshakeError,
)

from fedbench.codec.wire import MAX_FRAME_BYTES
from fedbench.errors import RemoteProtocolError, RoutingError
from fedbench.transport.network import handshake, security, streaming
from fedbench.transport.network.streaming import ClientStream

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

    from fedbench.netsettings import NetworkSettings
    from fedbench.transport.network.handshake import Hello, Welcome
    from fedbench.transport.network.security import Credentials

log = logging.getLogger("fedbench.transport")

DIAL_S = 10.0
CLOSE_S = 1.0


class WebSocket(ClientWebSocketResponse):
    """A WebSocket that tells what came with it."""

    @property
    def welcome(self) -> str:
        """What the server said in the answer that began it."""
        return self._response.headers.get(handshake.WELCOME_HEADER, "")

    def abort(self) -> None:
        """Cut it at once, and let go of its connection, whether it was ever read from or not."""
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()


class Answer(NamedTuple):
    """The server has answered: the WebSocket, and what it said."""

    socket: WebSocket | ClientStream
    welcome: Welcome


class _NoWebSocket(Exception):
    """Something that is no fedbench server answered the request for one."""


class SessionOver(RoutingError):
    """The server has forgotten the session, or ended it."""


class Dialler:
    """Opens WebSockets to one server.

    Args:
        settings: Where it is.
        credentials: TLS and the token.
    """

    def __init__(self, settings: NetworkSettings, credentials: Credentials) -> None:
        scheme = "ws" if credentials.context is None else "wss"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"{scheme}://{host}:{settings.port}"
        self._plain_url = f"http{scheme[2:]}://{host}:{settings.port}"
        self._streams = False
        self._headers = security.bearer(credentials.tokens)
        self._http = ClientSession(
            connector=TCPConnector(limit=0, ssl=credentials.context or True, socket_factory=_socket_of),
            timeout=ClientTimeout(total=None, sock_connect=DIAL_S),
            ws_response_class=WebSocket,
        )

    async def dial(self, hello: Hello) -> Answer:
        """Open one. Cancelling leaves nothing behind.

        Raises:
            SessionOver: The session that the hello wants to go on with is over.
            RoutingError: The server cannot be reached, or refuses; the reason is its own.
        """
        source, target = hello.source, hello.target
        headers = {**self._headers, handshake.HELLO_HEADER: handshake.to_header(hello)}
        try:
            async with asyncio.timeout(DIAL_S):
                if self._streams:
                    return await self._stream(source, headers)
                try:
                    return await self._web_socket(source, headers)
                except _NoWebSocket as error:
                    answer = await self._stream(source, headers)
                    log.warning("%s: %s; going on by events and POSTs, which is slower", source, error)
                    self._streams = True
                    return answer
        except ClientResponseError as refused:
            kind = SessionOver if refused.status == 410 else RoutingError
            told = None if refused.headers is None else refused.headers.get(handshake.REFUSED_HEADER)
            reason = told or f"it answered with HTTP status {refused.status}"
            raise kind(source, target, f"{self.url} refuses: {reason}") from None
        except RemoteProtocolError as error:
            raise RoutingError(source, target, f"{self.url} is no fedbench server: {error}") from None
        except TimeoutError:
            reason = f"{self.url} did not answer within {DIAL_S:g} s"
            raise RoutingError(source, target, reason) from None
        except (ClientError, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise RoutingError(source, target, f"{self.url} cannot be reached: {why}") from None

    async def _web_socket(self, source: str, headers: dict[str, str]) -> Answer:
        try:
            socket = await self._http.ws_connect(
                f"{self.url}/ws/{source}",
                headers=headers,
                max_msg_size=MAX_FRAME_BYTES,
                timeout=ClientWSTimeout(ws_close=CLOSE_S),
            )
        except WSServerHandshakeError as refused:
            if refused.headers is None or handshake.REFUSED_HEADER not in refused.headers:
                raise _NoWebSocket(f"no WebSocket gets through: {refused.message}") from None
            raise
        assert isinstance(socket, WebSocket)
        try:
            return Answer(socket, handshake.read_welcome(socket.welcome))
        except RemoteProtocolError:
            socket.abort()
            raise

    async def _stream(self, source: str, headers: dict[str, str]) -> Answer:
        response = await self._http.get(
            f"{self._plain_url}/sse/{source}", headers=headers, read_bufsize=streaming.READ_BYTES
        )
        try:
            response.raise_for_status()
            welcome = handshake.read_welcome(response.headers.get(handshake.WELCOME_HEADER, ""))
        except BaseException:
            response.close()
            raise
        shown = {
            **self._headers,
            streaming.CLIENT_HEADER: source,
            streaming.SESSION_HEADER: streaming.to_header(welcome.session),
        }
        url = f"{self._plain_url}/api/message"
        return Answer(ClientStream(self._http, response, url, shown), welcome)

    async def close(self) -> None:
        """Close what is left open; idempotent."""
        await self._http.close()


def _socket_of(address: AddrInfoType) -> socket.socket:
    """Return a socket that the kernel probes, too, as that of the server."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made
