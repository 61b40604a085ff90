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
    ServerDisconnectedError,
    TCPConnector,
)

from fedbench.errors import RemoteProtocolError, RoutingError
from fedbench.transport.network import handshake, streaming, tokens
from fedbench.transport.network.streaming import ClientStream
from fedbench.transport.network.websocket import Upgraded, upgrade_headers

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

    from fedbench.netsettings import NetworkSettings
    from fedbench.transport.network.handshake import Hello, Welcome
    from fedbench.transport.network.security import Credentials

log = logging.getLogger("fedbench.transport")

DIAL_S = 10.0
_OVER = (401, 410)
"""Statuses that end a session: its token does not count any more, or the server does not know it."""


class Answer(NamedTuple):
    """The server has answered: what carries frames to it, and what it said."""

    socket: Upgraded | ClientStream
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
        scheme = "http" if credentials.context is None else "https"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"{scheme}://{host}:{settings.port}"
        self._streams = False
        self._headers = tokens.bearer(credentials.tokens)
        self._http = ClientSession(
            connector=TCPConnector(limit=0, ssl=credentials.context or True, socket_factory=_socket_of),
            timeout=ClientTimeout(total=None, sock_connect=DIAL_S),
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
            kind = SessionOver if refused.status in _OVER else RoutingError
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
            if isinstance(error, ServerDisconnectedError) and self.url.startswith("https"):
                why = f"{why}; it may want a client's certificate that its authorities have issued"
            raise RoutingError(source, target, f"{self.url} cannot be reached: {why}") from None

    async def _web_socket(self, source: str, headers: dict[str, str]) -> Answer:
        asked = upgrade_headers()
        response = await self._http.get(
            f"{self.url}/ws/{source}", headers={**headers, **asked}, allow_redirects=False
        )
        try:
            if handshake.REFUSED_HEADER in response.headers:
                response.raise_for_status()
            said = response.headers.get(handshake.WELCOME_HEADER, "")
            try:
                socket = Upgraded.of_response(asked, response)
            except RemoteProtocolError as error:
                raise _NoWebSocket(f"no WebSocket gets through: {error}") from None
        except BaseException:
            response.close()
            raise
        try:
            return Answer(socket, handshake.read_welcome(said))
        except RemoteProtocolError:
            socket.abort()
            raise

    async def _stream(self, source: str, headers: dict[str, str]) -> Answer:
        response = await self._http.get(
            f"{self.url}/sse/{source}", headers=headers, read_bufsize=streaming.READ_BYTES
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
        url = f"{self.url}/api/message"
        return Answer(ClientStream(self._http, response, url, shown), welcome)

    async def close(self) -> None:
        """Close what is left open; idempotent."""
        await self._http.close()


def _socket_of(address: AddrInfoType) -> socket.socket:
    """Return a socket that the kernel probes, too, as that of the server."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made
