"""Gateway: the requests of clients that speak plain HTTP and JSON.

They name themselves by ``X-Fedbench-Client`` and show, once they have registered, ``X-Fedbench-Session``.
Models do not travel as JSON: they are fetched by version, as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import hdrs, web

from fedbench.codec.wire import CHUNK_BYTES
from fedbench.errors import (
    FedbenchError,
    LocalProtocolError,
    Overloaded,
    RemoteError,
    RoutingError,
    TransportError,
)
from fedbench.ids import check_name
from fedbench.messages import Kind
from fedbench.transport.network.streaming import CLIENT_HEADER, EVENT_HEADERS, SESSION_HEADER, to_header

if TYPE_CHECKING:
    from fedbench.transport.network.connection import NetworkConnection
    from fedbench.transport.network.guest import Guest

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_JSON_BYTES = 1 << 20
BODY_S = 5.0
MAX_GUESTS = 1024
DEADLINE_S = 30.0
MOST_DEADLINE_S = 3600.0
VERSION_HEADER = "X-Fedbench-Model-Version"
_LAYOUT_SIZE = Struct("<I")

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (TimeoutError, 504),
    (RemoteError, 502),
    (Overloaded, 429),
    (RoutingError, 404),
    (TransportError, 410),
    (LocalProtocolError, 400),
    (ValueError, 400),
)


class Gateway:
    """Answers plain requests.

    Args:
        admit: Opens a connection for a client, to a node (None for the only one there is).
        let_in: Called with a request that begins or shows a session, and with its connection.
    """

    def __init__(
        self,
        admit: Callable[[str, str | None], Guest],
        let_in: Callable[[web.Request, NetworkConnection], None],
    ) -> None:
        self._admit = admit
        self._let_in = let_in
        self._guests: dict[str, Guest] = {}
        self.events = self._answering(self._events)
        """Answers the request for a guest's events."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Answer at these places."""
        router.add_post("/api/register", self._answering(self._register))
        router.add_post("/api/unregister", self._answering(self._unregister))
        router.add_post("/api/heartbeat", self._answering(self._heartbeat))
        router.add_post("/notify", self._answering(self._notify))
        router.add_post("/rpc/{method}", self._answering(self._rpc))
        router.add_get("/models/{version}", self._answering(self._model))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Tell a guest of everything that it is sent, until it goes."""
        guest = self._guest(request)
        response = web.StreamResponse(headers=EVENT_HEADERS)
        await response.prepare(request)
        while (event := await guest.next_event()) is not None:
            guest.touch()
            data = msgspec.json.encode(event.data)
            await response.write(b"event: %s\ndata: %s\n\n" % (event.name.encode(), data))
        return response

    def _answering(self, handler: _Handler) -> _Handler:
        """Return a handler that answers errors of the runtime with their name and a status."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except (FedbenchError, TimeoutError, ValueError) as error:
                status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
                told = {"error": type(error).__name__, "message": str(error)}
                return _json(told, status)

        return answer

    # Requests ----------------------------------------------------------------------------------------

    async def _register(self, request: web.Request) -> web.Response:
        client_id = check_name(request.headers.get(CLIENT_HEADER, ""))
        if len(self._guests) >= MAX_GUESTS:
            raise Overloaded(f"{MAX_GUESTS} guests are there already")
        wanted = await _body(request)
        named = wanted.get("server_id") is not None
        guest = self._admit(client_id, _text(wanted, "server_id") if named else None)
        self._guests[client_id] = guest
        guest.connection.on_closed(lambda *_: self._forget(client_id, guest))
        answer = await guest.ask(Kind.REGISTER, "", {}, DEADLINE_S)
        if not answer.body.get("accepted"):
            guest.connection.close()
            return _json({"error": "RegistrationError", "message": answer.body.get("reason")}, 409)
        self._let_in(request, guest.connection)
        told = {"server_id": guest.connection.peer_id, "epoch": guest.connection.epoch}
        return _json({**told, "session": to_header(guest.connection.secret)})

    async def _unregister(self, request: web.Request) -> web.Response:
        guest = self._guest(request)
        guest.send(Kind.UNREGISTER, body={})
        guest.connection.close()
        return web.Response(status=204)

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self._guest(request).send(Kind.HEARTBEAT, body={})
        return web.Response(status=204)

    async def _notify(self, request: web.Request) -> web.Response:
        guest, said = self._guest(request), await _body(request)
        await guest.notify(_text(said, "event"), said.get("data"))
        return web.Response(status=204)

    async def _rpc(self, request: web.Request) -> web.Response:
        """Call a method with ``args`` and ``kwargs``, or with a ``body`` as it is."""
        guest, said = self._guest(request), await _body(request)
        call = said.get("body", {"args": said.get("args", []), "kwargs": said.get("kwargs", {})})
        deadline_s = said.get("deadline_s", DEADLINE_S)
        if not isinstance(deadline_s, int | float) or not 0 < deadline_s <= MOST_DEADLINE_S:
            raise ValueError(f"deadline_s is {deadline_s!r}: more than 0 and at most {MOST_DEADLINE_S:g}")
        answer = await guest.ask(Kind.RPC_REQUEST, request.match_info["method"], call, deadline_s)
        if answer.method:
            error = answer.body
            raise RemoteError(answer.source, error["type"], error["message"], error["traceback"])
        told: dict[str, Any] = {"result": answer.body}
        if answer.tensors is not None:
            told["model"] = f"/models/{answer.tensors.version}"
        return _json(told)

    async def _model(self, request: web.Request) -> web.StreamResponse:
        """Send a model: the size of its layout in four bytes, the layout in msgpack, its buffer."""
        guest, version = self._guest(request), request.match_info["version"]
        model = guest.models.get(int(version)) if version.isdecimal() else None
        if model is None:
            raise RoutingError(
                guest.connection.local_id, f"model {version}", "it was not sent, or is too old"
            )
        layout = model.layout.encoded
        response = web.StreamResponse(headers={VERSION_HEADER: version})
        response.content_type = "application/octet-stream"
        response.content_length = _LAYOUT_SIZE.size + len(layout) + model.nbytes
        await response.prepare(request)
        await response.write(_LAYOUT_SIZE.pack(len(layout)) + layout)
        for start in range(0, model.nbytes, CHUNK_BYTES):
            await response.write(model.buffer[start : start + CHUNK_BYTES])
        return response

    def _guest(self, request: web.Request) -> Guest:
        client_id = request.match_info.get("client_id", request.headers.get(CLIENT_HEADER, ""))
        guest = self._guests.get(client_id)
        shown = request.headers.get(SESSION_HEADER, "")
        if guest is None or not compare_digest(to_header(guest.connection.secret).encode(), shown.encode()):
            raise TransportError(f"{client_id!r} is not registered, or shows a wrong session")
        guest.touch()
        self._let_in(request, guest.connection)
        return guest

    def _forget(self, client_id: str, guest: Guest) -> None:
        if self._guests.get(client_id) is guest:
            del self._guests[client_id]


async def _body(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that a request brings, an empty one if it brings nothing.

    Raises:
        ValueError: It is larger than 1 MiB, of an unknown size, compressed, or no JSON object.
        TimeoutError: It did not come within 5 seconds.
    """
    length = request.content_length
    if length is None and request.can_read_body:
        raise ValueError("a body must say how large it is")
    if length is not None and length > MAX_JSON_BYTES:
        raise ValueError(f"a body of {length} bytes is oversized: {MAX_JSON_BYTES} is the most")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise ValueError("a body must not be compressed")
    data = b""
    if length:
        async with asyncio.timeout(BODY_S):
            data = await request.content.readexactly(length)
    try:
        said = msgspec.json.decode(data or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"a body is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError("a body must be a JSON object")
    return said


def _text(said: dict[str, Any], key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key} must be a text")
    return value


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")
