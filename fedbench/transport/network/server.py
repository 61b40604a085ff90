"""Server: one port that takes the connections of clients, and answers who asks for the status."""

from __future__ import annotations

import logging
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from fedbench.codec.wire import MAX_HANDSHAKE_BYTES
from fedbench.errors import RemoteProtocolError, RoutingError
from fedbench.ids import check_name
from fedbench.netsettings import is_loopback
from fedbench.transport.network import handshake, security, streaming
from fedbench.transport.network.capacity import STRANGER_FDS
from fedbench.transport.network.doorway import Doorway, Terms
from fedbench.transport.network.gateway import Gateway
from fedbench.transport.network.websocket import Upgraded, accept_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedbench.throttle import Throttle
    from fedbench.transport.network.connection import NetworkConnection
    from fedbench.transport.network.guest import Guest
    from fedbench.transport.network.handshake import Hello, Welcome
    from fedbench.transport.network.link import Link
    from fedbench.transport.network.security import Credentials
    from fedbench.transport.network.tokens import TokenWatch

log = logging.getLogger("fedbench.transport")

HANDSHAKE_S = 5.0
SHUTDOWN_S = 5.0
RETRY_AFTER_S = 10
_BEGINNING = ("/api/register", "/api/status")
"""Where who shows no session yet is answered, beside handshakes."""


class Admission(NamedTuple):
    """A client that may connect.

    Attributes:
        connection: Its connection.
        welcome: What it is answered.
        begin: Called with the link when it is there; False if another one has been admitted since.
    """

    connection: NetworkConnection
    welcome: Welcome
    begin: Callable[[Link], bool]


class Admits(Protocol):
    """Who decides about clients, and knows of the nodes."""

    def admit(self, hello: Hello) -> Admission:
        """Admit a client whose identity is proven.

        Raises:
            RoutingError: It may not connect to whom it wants.
            RemoteProtocolError: It claims what cannot be.
            LookupError: The session that it wants to go on with is over.
        """
        ...

    def has_place(self, hello: Hello) -> bool:
        """Whether a client goes on with a session that still has a link, whose place the next one takes."""
        ...

    def link(self, socket: Upgraded | streaming.ServerStream, to: NetworkConnection) -> Link:
        """Return a link over a socket."""
        ...

    def admit_guest(self, client_id: str, server_id: str | None) -> Guest:
        """Open a connection for a client that speaks plain HTTP.

        Raises:
            RoutingError: There is no such server, or it may not connect to it.
        """
        ...

    def status(self) -> dict[str, object]:
        """Return what may be told of the nodes, as plain data."""
        ...


class _HttpLog(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs of requests that are none, or cannot be answered: without end, if it were let."""

    def __init__(self, throttle: Throttle) -> None:
        super().__init__(log)
        self._throttle = throttle

    def exception(self, msg: object, *args: object, exc_info: Any = True, **options: Any) -> None:
        """Log one such request; where the peer is to blame, without a traceback."""
        whose = args[:1]
        if isinstance(exc_info, HttpProcessingError):
            why = exc_info.message.partition("\n")[0].strip()
            self._throttle.warning(("request", *whose), "refused a request from %s: %s", *whose, why)
        else:
            self._throttle.log(logging.ERROR, ("error", *whose), str(msg), *args, exc_info=exc_info)


class Server:
    """An HTTP server. Nothing of a client that has not proven who it is is read but the head of one request.

    Args:
        admits: Who decides.
        credentials: TLS and tokens.
        capacity: Most clients at once; the next are told to come later.
        throttle: Logs what anybody can cause.

    Attributes:
        tokens: What everybody has to show one of, None for nothing.
    """

    def __init__(self, admits: Admits, credentials: Credentials, capacity: int, throttle: Throttle) -> None:
        self._admits = admits
        self._throttle = throttle
        self.tokens: TokenWatch | None = None
        self._capacity = capacity
        self._held = 0
        self._loopback = False
        self._streams: dict[str, streaming.ServerStream] = {}
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_HANDSHAKE_BYTES)
        app.router.add_get("/ws/{client_id}", self._ws)
        app.router.add_get("/sse/{client_id}", self._sse)
        app.router.add_post("/api/message", self._message)
        app.router.add_get("/api/status", self._status)
        self._gateway = Gateway(admits.admit_guest, self._let_in)
        self._gateway.add_routes(app.router)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_HttpLog(throttle),
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
            max_line_size=MAX_HANDSHAKE_BYTES,
            max_field_size=MAX_HANDSHAKE_BYTES,
            max_headers=32,
            lingering_time=0.0,
            keepalive_timeout=HANDSHAKE_S,
        )
        terms = Terms(credentials.context, HANDSHAKE_S, self._room_for_strangers)
        self._doorway = Doorway(self._protocol, terms, throttle)

    async def listen(self, host: str, port: int) -> int:
        """Take connections; return the port.

        Raises:
            OSError: It is in use, or the address is not this machine's.
        """
        self._loopback = is_loopback(host)
        await self._runner.setup()
        return await self._doorway.listen(host, port)

    def stop(self) -> None:
        """Take no more connections; idempotent."""
        self._doorway.stop()

    async def close(self) -> None:
        """Stop, and end every request that is still answered."""
        await self._doorway.close()
        if self.tokens is not None:
            await self.tokens.close()
        await self._runner.cleanup()

    # Before a request --------------------------------------------------------------------------------

    def _protocol(self) -> web.RequestHandler:
        """Return what speaks on a new connection; it is cut if no request has come within 5 seconds."""
        assert self._runner.server is not None
        return self._runner.server()

    def _room_for_strangers(self) -> int:
        return self._capacity - self._held + STRANGER_FDS

    def _let_in(self, request: web.Request, connection: NetworkConnection) -> None:
        """Whoever is behind a request has shown the session of ``connection``, or begun it."""
        self._doorway.let_in(request.protocol)
        client_id = _client_of(request)
        if self.tokens is not None and client_id is not None:
            self.tokens.hold(connection, request.headers.get(hdrs.AUTHORIZATION), client_id)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let through whoever proves who it is; a node shows its own name."""
        self._doorway.asked(request.protocol)
        if self._loopback and not is_loopback(_host_of(request)):
            # A page in a browser that gave its own name this address: nobody else calls loopback by one.
            raise _refusal(web.HTTPMisdirectedRequest, "it is not called by that name")
        client_id = _client_of(request)
        if self.tokens is not None:
            await self._check_token(self.tokens, request, client_id)
        certificate = request.get_extra_info("peercert")
        if certificate and client_id is not None:
            names = security.certified_names(certificate)
            if client_id not in names:
                raise _refusal(
                    web.HTTPForbidden, f"the certificate is that of {', '.join(sorted(names)) or 'nobody'}"
                )
        return await handler(request)

    async def _check_token(self, tokens: TokenWatch, request: web.Request, client_id: str | None) -> None:
        if handshake.HELLO_HEADER in request.headers or request.path in _BEGINNING:
            await tokens.look()
            if tokens.problem is not None:
                raise _refusal(web.HTTPServiceUnavailable, "its token file cannot be used now")
        shown = request.headers.get(hdrs.AUTHORIZATION)
        refusal = tokens.refusal(shown, client_id, request.remote)
        if refusal:
            raise _refusal(web.HTTPUnauthorized, refusal)

    # Requests ----------------------------------------------------------------------------------------

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        """Give a client its WebSocket. It outlives the request: nothing of that is kept."""
        try:
            accepted = accept_headers(request.headers)
            _check_upgrade(request)
        except RemoteProtocolError as error:
            # Not by name: something on the way may have changed what it asked.
            raise web.HTTPBadRequest(text=str(error), headers={hdrs.CONNECTION: "close"}) from None
        admission = self._admit(request)
        welcome = {handshake.WELCOME_HEADER: handshake.to_header(admission.welcome)}
        answer = web.StreamResponse(status=101, headers={**accepted, **welcome})
        await answer.prepare(request)
        self._doorway.let_in(request.protocol)
        upgraded = Upgraded.of_request(request)
        if upgraded is not None:
            self._begin(upgraded, admission)
            self._let_in(request, admission.connection)
        return answer

    async def _sse(self, request: web.Request) -> web.StreamResponse:
        """Carry a client's frames by events and POSTs, or tell a guest of what it is sent."""
        if handshake.HELLO_HEADER not in request.headers:
            return await self._gateway.events(request)
        admission = self._admit(request)
        welcome = {handshake.WELCOME_HEADER: handshake.to_header(admission.welcome)}
        response = web.StreamResponse(headers={**streaming.EVENT_HEADERS, **welcome})
        stream = streaming.ServerStream(request, response, admission.welcome.session)
        client_id = request.match_info["client_id"]
        self._streams[client_id] = stream
        try:
            await response.prepare(request)
            link = self._begin(stream, admission)
            self._let_in(request, admission.connection)
            await link.over
        finally:
            if self._streams.get(client_id) is stream:
                del self._streams[client_id]
        return response

    async def _message(self, request: web.Request) -> web.StreamResponse:
        """Take a frame of a client that is not let through with a WebSocket."""
        stream = self._streams.get(request.headers.get(streaming.CLIENT_HEADER, ""))
        shown = request.headers.get(streaming.SESSION_HEADER, "")
        if stream is None or not compare_digest(stream.shown.encode(), shown.encode()):
            raise _refusal(web.HTTPGone, "there is no such stream of events")
        self._doorway.let_in(request.protocol)
        try:
            await stream.feed(await streaming.read_frame(request))
        except RemoteProtocolError as error:
            raise _refusal(web.HTTPRequestEntityTooLarge, str(error)) from None
        return web.Response(status=204)

    def _begin(self, socket: Upgraded | streaming.ServerStream, admission: Admission) -> Link:
        """Let a client's link begin; it is cut if another one has been admitted since."""
        connection = admission.connection
        link = self._admits.link(socket, connection)
        if not admission.begin(link):
            link.abort()
            return link
        self._held += 1
        link.over.add_done_callback(lambda _: self._over(connection, link))
        link.run()
        return link

    def _over(self, connection: NetworkConnection, link: Link) -> None:
        self._held -= 1
        connection.detach(link)

    def _admit(self, request: web.Request) -> Admission:
        try:
            hello = handshake.read_hello(request.headers.get(handshake.HELLO_HEADER, ""))
            if self._held >= self._capacity and not self._admits.has_place(hello):
                refusal = _refusal(web.HTTPServiceUnavailable, f"it holds {self._held} clients and no more")
                refusal.headers["Retry-After"] = str(RETRY_AFTER_S)
                raise refusal
            check_name(hello.source)
            if hello.source != request.match_info["client_id"]:
                raise RemoteProtocolError(f"it is not {hello.source} whose place this is")
            return self._admits.admit(hello)
        except RoutingError as error:
            told = error.source, error.target, error.reason
            kind = ("route", request.remote)
            self._throttle.log(logging.INFO, kind, "refused a route from %s to %s: %s", *told)
            raise _refusal(web.HTTPNotFound, error.reason) from None
        except LookupError as error:
            raise _refusal(web.HTTPGone, str(error)) from None
        except (RemoteProtocolError, ValueError) as error:
            kind = ("handshake", request.remote)
            self._throttle.warning(kind, "refused a handshake from %s: %s", request.remote, error)
            raise _refusal(web.HTTPBadRequest, str(error)) from None

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._admits.status())


def _host_of(request: web.Request) -> str:
    """Return what a request calls the server, empty for nothing; it is refused if that can be no name."""
    try:
        return request.url.host or ""
    except ValueError as error:
        raise _refusal(web.HTTPBadRequest, f"it is called by no name: {error}") from None


def _client_of(request: web.Request) -> str | None:
    """Return who a request says it comes from, None for nobody."""
    return request.match_info.get("client_id", request.headers.get(streaming.CLIENT_HEADER))


def _check_upgrade(request: web.Request) -> None:
    """Refuse a request behind which what comes would not be read as a WebSocket's, but as HTTP.

    Raises:
        RemoteProtocolError: Its connection is not to be upgraded, or it brings a body.
    """
    wanted = request.headers.get(hdrs.CONNECTION, "").lower().split(",")
    if "upgrade" not in map(str.strip, wanted):
        raise RemoteProtocolError("it asks for a WebSocket and not for its connection to be upgraded")
    if request.headers.keys() & {hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING}:
        raise RemoteProtocolError("it asks for a WebSocket and brings a body")


def _refusal(kind: type[web.HTTPException], reason: str) -> web.HTTPException:
    """Return an answer whose reason travels in a header: that of a refused WebSocket has no body.

    It ends the connection, on which a refused WebSocket would leave what came behind its request.
    """
    shown = reason.encode("ascii", "backslashreplace").decode()
    text = "".join(letter if letter.isprintable() else "?" for letter in shown)[:500]
    headers = {handshake.REFUSED_HEADER: text, hdrs.CONNECTION: "close"}
    if kind is web.HTTPRequestEntityTooLarge:
        return web.HTTPRequestEntityTooLarge(0, text=text, headers=headers)
    return kind(text=text, headers=headers)
