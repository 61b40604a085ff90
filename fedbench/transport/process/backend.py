"""Process mode: nodes of several processes of one machine, joined by queues and shared memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from fedbench.errors import RoutingError
from fedbench.tensors.shared import SharedStore
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.inbox import UNBOUNDED
from fedbench.transport.process.connection import ProcessConnection
from fedbench.transport.process.rendezvous import (
    CROSSING,
    HANDSHAKE_TIMEOUT_S,
    PROTOCOL,
    Hello,
    Listener,
    Meeting,
    meet,
)

if TYPE_CHECKING:
    from fedbench.ids import Role
    from fedbench.transport.connection import Connection
    from fedbench.transport.process.peer import Peer
    from fedbench.transport.receipt import Receipt

DEFAULT_EXCHANGE = "default"
SETTLE_S = 1.0


class ProcessTransport(TransportBase):
    """Connects nodes of one user on one machine, whatever processes they are in.

    Args:
        node_id: The node that this transport serves; more can share it (:meth:`start_event_listener`).
        exchange: Nodes of the same exchange find each other; by default one exchange for the whole user.
        role: ``server`` or ``client``; by default what the id says.
        limits: Bounds of every queue.
        store: Where models are lent from; by default a store of its own, closed with it.

    Attributes:
        store: As given, or its own.
    """

    scheme: ClassVar[str] = "process"
    inbox_limits: ClassVar[Limits | None] = UNBOUNDED  # the sender keeps the bounds

    def __init__(
        self,
        node_id: str,
        exchange: str = DEFAULT_EXCHANGE,
        *,
        role: Role | None = None,
        limits: Limits | None = None,
        store: SharedStore | None = None,
    ) -> None:
        super().__init__(node_id, role=role, limits=limits)
        self._exchange = exchange
        self._owns_store = store is None
        self.store = SharedStore() if store is None else store
        self._listeners: dict[str, Listener] = {}
        self._epochs: dict[tuple[str, str], int] = {}
        self._peers: set[Peer] = set()
        self._awaited: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def close(self) -> None:
        """As :meth:`TransportBase.close`; the transport's own store is closed too.

        What was sent in shared memory goes with the store, so it is waited for until it is taken, up to 1 s.
        """
        await self._settle()
        await super().close()
        for peer in self._peers:
            peer.abandon()
        self._peers.clear()
        if self._owns_store:
            self.store.close()

    async def _settle(self) -> None:
        if not self._owns_store or self._closed:
            return
        untaken = [_untaken(made) for made in self._connections.values()]
        waiting = [asyncio.ensure_future(receipt.delivered) for receipt in untaken if receipt is not None]
        if waiting:
            done, _ = await asyncio.wait(waiting, timeout=SETTLE_S)
            for future in done:
                future.exception()  # one that ended in another way has said so

    async def _listen(self, node_id: str) -> None:
        self._listeners[node_id] = Listener(self._exchange, node_id, self._admit, self._met)

    def _unlisten(self, node_id: str) -> None:
        self._listeners.pop(node_id).close()

    async def _open(self, source: str, target: str) -> Connection:
        hello = Hello(PROTOCOL, source, self._roles[source], target)
        try:
            meeting = await meet(self._exchange, hello)
        except RoutingError as error:
            if error.reason != CROSSING:
                raise
            return await self._crossed(source, target)
        return self._connection(source, target, meeting)

    async def _crossed(self, source: str, target: str) -> Connection:
        """Return the connection that the other side opens to this one at the same time."""
        pair = (source, target)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[pair] = future
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                if pair not in self._connections:
                    await future
            return self._connections[pair]
        except (TimeoutError, KeyError):
            raise RoutingError(source, target, "the connection that it opens did not come") from None
        finally:
            del self._awaited[pair]

    def _admit(self, hello: Hello) -> int:
        role = self._roles[hello.target]
        if role is not None and role == hello.role:
            raise RoutingError(hello.source, hello.target, f"{role} to {role} is not permitted")
        pair = (hello.target, hello.source)
        if pair in self._opening and hello.target < hello.source and pair not in self._awaited:
            raise RoutingError(hello.source, hello.target, CROSSING)
        self._epochs[pair] = self._epochs.get(pair, 0) + 1
        return self._epochs[pair]

    def _met(self, hello: Hello, meeting: Meeting) -> None:
        self._adopt(self._connection(hello.target, hello.source, meeting))
        awaited = self._awaited.get((hello.target, hello.source))
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    def _connection(self, local_id: str, peer_id: str, meeting: Meeting) -> ProcessConnection:
        self._peers = {peer for peer in self._peers if peer.watched}
        self._peers.add(meeting.peer)
        return ProcessConnection(local_id, peer_id, meeting.epoch, self.limits, meeting.peer, self.store)


def _untaken(connection: Connection) -> Receipt | None:
    assert isinstance(connection, ProcessConnection)
    return None if connection.closed else connection.untaken()
