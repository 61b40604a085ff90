"""Network mode: nodes of any machines. Servers listen at one port, clients dial it and come back."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from dataclasses import replace
from errno import EADDRINUSE
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedbench.clock import LoopClock
from fedbench.errors import RemoteProtocolError, RoutingError
from fedbench.ids import parse
from fedbench.loop import in_thread
from fedbench.netsettings import NetworkSettings, TlsSettings
from fedbench.tensors.store import HEAP, TensorStore
from fedbench.throttle import Throttle
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.network import capacity, handshake, security
from fedbench.transport.network.backoff import FIRST_S, Backoff
from fedbench.transport.network.connection import Host, Meeting, NetworkConnection
from fedbench.transport.network.dialling import Answer, Dialler, SessionOver
from fedbench.transport.network.encoding import Encoder
from fedbench.transport.network.guest import Guest, LoopLink
from fedbench.transport.network.handshake import Hello, Welcome
from fedbench.transport.network.liveness import Lazily, Pacemaker, Watchdog
from fedbench.transport.network.server import Admission, Server
from fedbench.transport.network.streamlink import StreamLink
from fedbench.transport.network.tokens import TokenWatch
from fedbench.transport.network.websocket import Upgraded, WebSocketLink

if TYPE_CHECKING:
    from fedbench.clock import Clock
    from fedbench.ids import Role
    from fedbench.transport.connection import Connection
    from fedbench.transport.network.link import Carrier, Link
    from fedbench.transport.network.streaming import ClientStream, ServerStream

log = logging.getLogger("fedbench.transport")

CLOSE_GRACE_S = 2.0
SECRET_BYTES = 16


class NetworkTransport(TransportBase):
    """Connects nodes over a network. What is no client listens; clients dial the one address they are given.

    A server reaches the clients that have connected; it dials nobody.

    Args:
        node_id: The node that this transport serves; more can share it (:meth:`start_event_listener`).
        settings: Where the server is, and on which terms; by default made of ``options``.
        role: ``server`` or ``client``; by default what the id says.
        limits: Bounds of every queue.
        store: Where received models come to lie.
        clock: Time; tests hand in their own.
        options: Fields of :class:`NetworkSettings`, ``tls`` as a mapping too.

    Attributes:
        settings: As given.
        port: Where a server listens, once it does.
        first_delay_s: How long a client waits before it dials again for the first time, in seconds.

    Raises:
        ConfigError: Others could listen, and ``insecure`` does not allow it.
        TypeError: There is no such option.
    """

    scheme: ClassVar[str] = "network"
    inbox_limits: ClassVar[Limits | None] = Limits(4096, 4 << 30)  # the sender keeps the bounds; this is for
    # one that does not

    def __init__(
        self,
        node_id: str,
        settings: NetworkSettings | None = None,
        *,
        role: Role | None = None,
        limits: Limits | None = None,
        store: TensorStore = HEAP,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        super().__init__(node_id, role=role, limits=limits)
        if isinstance(options.get("tls"), dict):
            options["tls"] = TlsSettings(**options["tls"])
        self.settings = settings or NetworkSettings(**options)
        security.check_exposure(self.settings)
        self.port = self.settings.port
        self.first_delay_s = FIRST_S
        clock = clock or LoopClock()
        self._host = Host(clock, store, Lazily(clock), Encoder(), Throttle(log, clock))
        self._pacemaker = Pacemaker(clock, self.settings.heartbeat_s)  # of links that were answered
        self._watchdog = Watchdog(clock)  # of links that were dialled
        self._clock_id = _clock_id()
        self._server: Server | None = None
        self._opening_port = asyncio.Lock()
        self._served: set[str] = set()
        self._dialler: Dialler | None = None
        self._links: set[Link] = set()
        self._redialling: dict[Connection, asyncio.Task[None]] = {}
        self._epochs: dict[tuple[str, str], int] = {}

    # Owner's side ------------------------------------------------------------------------------------

    def lose(self, peer_id: str, reason: str, node_id: str | None = None) -> None:
        """A peer is known to be gone: end its connection now instead of when its window is over."""
        connection = self._connections.get((node_id or self.node_id, peer_id))
        if isinstance(connection, NetworkConnection):
            connection.lose(reason)

    async def close(self) -> None:
        """As :meth:`TransportBase.close`; links get 2 seconds to send what is left."""
        await super().close()
        for task in self._redialling.values():
            task.cancel()
        if self._links:
            await asyncio.wait([link.over for link in self._links], timeout=CLOSE_GRACE_S)
        for link in list(self._links):
            link.abort()
        left = [*(link.over for link in self._links), *self._redialling.values()]
        if left:
            await asyncio.wait(left)
        if self._server is not None:
            await self._server.close()
        if self._dialler is not None:
            await self._dialler.close()
        self._pacemaker.close()
        self._watchdog.close()
        self._host.lazily.close()
        self._host.throttle.close()

    # Server's side -----------------------------------------------------------------------------------

    async def _listen(self, node_id: str) -> None:
        if self._roles[node_id] == "client":
            return
        async with self._opening_port:
            if self._server is None:
                self._server = await self._open_port(node_id)
        self._served.add(node_id)

    async def _open_port(self, node_id: str) -> Server:
        credentials = await in_thread(security.load, self.settings, server=True)
        room = await in_thread(capacity.allow_descriptors)
        server = Server(self, credentials, room, self._host.throttle)
        path = self.settings.token_file
        if path is not None:
            server.tokens = TokenWatch(path, credentials.tokens, self._host.clock, self._host.throttle)
        try:
            self.port = await server.listen(self.settings.host, self.settings.port)
            self._check_open()
        except OSError as error:
            await server.close()
            where = f"{self.settings.host}:{self.settings.port}"
            why = error.strerror or error
            if error.errno == EADDRINUSE:
                why = "it is in use; stop what listens there, or choose another server.transport.port"
            raise RoutingError(node_id, node_id, f"it cannot listen at {where}: {why}") from None
        except BaseException:
            await server.close()
            raise
        return server

    def _unlisten(self, node_id: str) -> None:
        self._served.discard(node_id)
        if not self._served and self._server is not None:
            self._server.stop()

    def admit(self, hello: Hello) -> Admission:
        """Admit a client whose identity is proven; see :class:`fedbench.transport.network.server.Admits`."""
        local_id, peer_id = hello.target, hello.source
        if local_id not in self._served:
            there = ", ".join(sorted(self._served))
            raise RoutingError(
                peer_id, local_id, f"{there} listens there, and client to client is not permitted"
            )
        self._check_roles(local_id, peer_id, hello.role)
        if hello.session:
            return self._admit_again(hello)
        meeting = self._meeting(local_id, peer_id, self._shift_ns(hello))
        connection = NetworkConnection(local_id, peer_id, self.limits, meeting, self._host)

        def begin(link: Link) -> bool:
            if self._closed:
                return False
            connection.attach(link, self._pacemaker)
            self._adopt(connection)
            return True

        return Admission(connection, self._welcome(connection), begin)

    def has_place(self, hello: Hello) -> bool:
        """As :meth:`fedbench.transport.network.server.Admits.has_place`."""
        connection = self._session_of(hello)
        return connection is not None and connection.linked

    def _session_of(self, hello: Hello) -> NetworkConnection | None:
        """Return the session that a client proves to know, None if there is none."""
        connection = self._connections.get((hello.target, hello.source))
        if not isinstance(connection, NetworkConnection) or connection.closed:
            return None
        return connection if secrets.compare_digest(connection.secret, hello.session) else None

    def _admit_again(self, hello: Hello) -> Admission:
        connection = self._session_of(hello)
        if connection is None:
            raise LookupError(f"{hello.target} knows no such session of {hello.source}")
        ticket = connection.resume(hello.position)

        def begin(link: Link) -> bool:
            if not connection.awaits(ticket):
                return False
            connection.attach(link, self._pacemaker)
            log.info("%s goes on with %s", hello.target, hello.source)
            return True

        return Admission(connection, self._welcome(connection), begin)

    def admit_guest(self, client_id: str, server_id: str | None) -> Guest:
        """Open a connection for a client that speaks plain HTTP; its other end lies here, too."""
        node = server_id if server_id is not None else next(iter(sorted(self._served)), "")
        if node not in self._served or self._closed:
            raise RoutingError(client_id, node, "no such node listens")
        self._check_roles(node, client_id, "client")
        meeting = self._meeting(node, client_id, 0)
        near = NetworkConnection(client_id, node, self.limits, meeting, self._host)
        far = NetworkConnection(node, client_id, self.limits, meeting, self._host)
        guest = Guest(near, self._host.clock, self.settings.resume_window_s)
        LoopLink.join(near, far, self._host.clock)
        near.start()
        self._adopt(far)
        return guest

    def _meeting(self, local_id: str, peer_id: str, shift_ns: int) -> Meeting:
        """Begin the next epoch of a pair."""
        pair = (local_id, peer_id)
        self._epochs[pair] = self._epochs.get(pair, 0) + 1
        times_s = self.settings.heartbeat_s, self.settings.resume_window_s
        return Meeting(self._epochs[pair], secrets.token_bytes(SECRET_BYTES), shift_ns, *times_s)

    def link(self, socket: Upgraded | ServerStream | ClientStream, to: NetworkConnection) -> Link:
        """Return a link over a socket; it is cut when the transport is closed."""
        link: Link
        if isinstance(socket, Upgraded):
            client = self._roles[to.local_id] == "client"
            link = WebSocketLink(socket, to, self._host.clock, client=client)
        else:
            link = StreamLink(socket, to, self._host.clock)
        self._links.add(link)
        link.over.add_done_callback(lambda _: self._links.discard(link))
        return link

    def status(self) -> dict[str, object]:
        """Return the nodes and connections of this transport, as plain data."""
        return {
            "nodes": sorted(self._served),
            "connections": [
                {
                    "node": local_id,
                    "peer": peer_id,
                    "epoch": connection.epoch,
                    "linked": isinstance(connection, NetworkConnection) and connection.linked,
                    "messages": connection.ledger.counts(),
                }
                for (local_id, peer_id), connection in sorted(self._connections.items())
            ],
        }

    # Client's side -----------------------------------------------------------------------------------

    async def _open(self, source: str, target: str) -> Connection:
        role = self._roles[source]
        if role != "client":
            self._check_roles(source, target, parse(target).role)
            raise RoutingError(source, target, "no client of that id is connected")
        if self._dialler is None:
            credentials = security.Credentials(None, {})
            if self.settings.tls is not None or self.settings.token_file is not None:
                credentials = await in_thread(security.load, self.settings, server=False)
            self._check_open()
            place = replace(self.settings, port=self.port)  # which a server of this transport may have chosen
            self._dialler = self._dialler or Dialler(place, credentials)
        hello = self._hello(source, target)
        answer = await self._dialler.dial(hello)
        if self._closed:
            answer.socket.abort()
            self._check_open()
        welcome = answer.welcome
        times_s = welcome.heartbeat_s, welcome.resume_window_s
        meeting = Meeting(welcome.epoch, welcome.session, self._shift_ns(welcome), *times_s)
        connection = NetworkConnection(source, target, self.limits, meeting, self._host)
        connection.attach(self.link(answer.socket, connection), self._watchdog)
        connection.on_start = lambda: self._carry(connection)
        connection.on_closed(self._stop_redialling)
        return connection

    def _carry(self, connection: NetworkConnection) -> None:
        """Begin the link of a connection; when it is over and the session is not, dial again."""
        link = connection.link
        if isinstance(link, WebSocketLink | StreamLink):
            link.over.add_done_callback(lambda _: self._link_over(connection, link))
            link.run()

    def _link_over(self, connection: NetworkConnection, link: Carrier) -> None:
        connection.detach(link)
        if not connection.closed:
            task = asyncio.get_running_loop().create_task(self._dial_again(connection))
            self._redialling[connection] = task

    async def _dial_again(self, connection: NetworkConnection) -> None:
        assert self._dialler is not None
        backoff = Backoff(random.random, self.first_delay_s)
        try:
            while not connection.closed:
                await self._pause(backoff.delay_s())
                hello = self._hello(connection.local_id, connection.peer_id, connection)
                try:
                    answer = await self._dialler.dial(hello)
                except SessionOver as error:
                    connection.lose(error.reason)
                except RoutingError as error:
                    log.debug("%s dials again: %s", connection.local_id, error)
                else:
                    self._go_on(connection, answer)
                    return
        finally:
            del self._redialling[connection]

    def _go_on(self, connection: NetworkConnection, answer: Answer) -> None:
        try:
            connection.resume(answer.welcome.position)
        except RemoteProtocolError as error:
            answer.socket.abort()
            connection.lose(str(error))
            return
        connection.attach(self.link(answer.socket, connection), self._watchdog)
        log.info("%s goes on with %s", connection.local_id, connection.peer_id)
        self._carry(connection)

    async def _pause(self, delay_s: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._host.clock.call_later(delay_s, lambda: over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    def _stop_redialling(self, connection: Connection, reason: Exception) -> None:
        task = self._redialling.get(connection)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    # Handshakes --------------------------------------------------------------------------------------

    def _hello(self, source: str, target: str, connection: NetworkConnection | None = None) -> Hello:
        known = () if connection is None else (connection.secret, connection.position)
        role = self._roles[source]
        return Hello(handshake.PROTOCOL, source, role, target, self._clock_id, time.monotonic_ns(), *known)

    def _welcome(self, connection: NetworkConnection) -> Welcome:
        return Welcome(
            connection.epoch,
            connection.secret,
            self._clock_id,
            time.monotonic_ns(),
            self.settings.heartbeat_s,
            self.settings.resume_window_s,
            connection.position,
        )

    def _shift_ns(self, said: Hello | Welcome) -> int:
        return handshake.shift_ns(said, self._clock_id, time.monotonic_ns())


@lru_cache(1)
def _clock_id() -> str:
    """Return what tells whose monotonic clock this is: the boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip().decode()
    except OSError:
        return secrets.token_hex(SECRET_BYTES)
