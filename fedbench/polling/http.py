"""Mailboxes of the legacy architecture behind HTTP: clients post what they send and look for what they get.

``POST /send`` takes one message as JSON and answers 204. ``POST /receive?target=…&source=…`` takes the oldest
message out of a mailbox and answers at once: 200 with it, or 204 if there is none. A message that cannot be
read is answered with 400, ids that are not of this federation with 404.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from fedbench.errors import RemoteProtocolError, TransportError
from fedbench.polling import jsonmail
from fedbench.polling.mail import Mail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedbench.messages import Message

log = logging.getLogger("fedbench.polling")

MAX_BODY_BYTES = 8 << 30
BACKLOG = 1024
CLOSE_S = 1.0


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class _Sealed(NamedTuple):
    """A message that waits for its client."""

    correlation_id: int
    data: bytes


class HttpMail(Mail):
    """The mail of a server, which its clients reach by HTTP. One event loop.

    Messages to clients wait as JSON. Nothing proves who a client is: only this machine can reach it.

    Args:
        server_id: The server, whose process this is.
        client_ids: Its clients.
    """

    def __init__(self, server_id: str, client_ids: Iterable[str]) -> None:
        self._server_id = server_id
        self._arrived: dict[str, deque[Message]] = {client_id: deque() for client_id in client_ids}
        self._waiting: dict[str, deque[_Sealed]] = {client_id: deque() for client_id in self._arrived}
        self._runner: web.AppRunner | None = None

    async def listen(self, host: str, port: int) -> Address:
        """Begin to serve.

        Args:
            host: An address of this machine that others cannot reach.
            port: A port, 0 for any that is free.

        Returns:
            The address and port that clients are to use.

        Raises:
            TransportError: It cannot listen there; the port may be in use.
        """
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/send", self._send)
        for method in ("GET", "POST"):
            app.router.add_route(method, "/receive", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise TransportError(
                f"the server cannot listen on {host} port {port}: {reason}; "
                "choose another port, or 0 for any that is free"
            ) from error
        address = Address(*self._runner.addresses[0][:2])
        log.info("%s listens on %s port %d", self._server_id, *address)
        return address

    async def close(self) -> None:
        """End serving and drop all mail; idempotent."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
        self._arrived.clear()
        self._waiting.clear()

    def put(self, message: Message) -> None:
        """Leave ``message`` as JSON for its client; mail for a node that was forgotten vanishes.

        Raises:
            LocalProtocolError: Its body is not plain data.
        """
        sealed = _Sealed(message.correlation_id, jsonmail.encode(message))
        if message.target in self._waiting:
            self._waiting[message.target].append(sealed)
            log.debug("%s -> %s: %s %s", message.source, message.target, message.kind.value, message.method)

    def look(self, target: str, source: str) -> Message | None:
        """Take the oldest message for the server from a client, None if there is none."""
        box = self._arrived.get(source) if target == self._server_id else None
        return box.popleft() if box else None

    def withdraw(self, target: str, source: str, correlation_id: int) -> None:
        """Take back a request that the client has not taken yet; without effect otherwise."""
        box = self._waiting.get(target, deque())
        kept = [sealed for sealed in box if sealed.correlation_id != correlation_id]
        if len(kept) < len(box):
            self._waiting[target] = deque(kept)

    def forget(self, node_id: str) -> None:
        """Drop everything for or from a client, now and from now on: nobody will look for it."""
        self._arrived.pop(node_id, None)
        self._waiting.pop(node_id, None)

    async def _send(self, request: web.Request) -> web.Response:
        try:
            message = jsonmail.decode(await request.read())
        except RemoteProtocolError as error:
            log.warning("a message was refused: %s", error)
            return web.Response(status=400, text=str(error))
        box = self._arrived.get(message.source) if message.target == self._server_id else None
        if box is None:
            return self._unknown(message.source, message.target)
        box.append(message)
        log.debug("%s -> %s: %s %s", message.source, message.target, message.kind.value, message.method)
        return web.Response(status=204)

    async def _receive(self, request: web.Request) -> web.Response:
        target, source = request.query.get("target", ""), request.query.get("source", "")
        box = self._waiting.get(target)
        if box is None:
            return self._unknown(source, target)
        if not box or source != self._server_id:  # an id that is nobody's never has mail
            return web.Response(status=204)
        return web.Response(body=box.popleft().data, content_type="application/json")

    def _unknown(self, source: str, target: str) -> web.Response:
        text = f"no route from {source!r:.140} to {target!r:.140}: the server here is {self._server_id!r}"
        log.warning("a request was refused: %s", text)
        return web.Response(status=404, text=text)
