"""Memory mode: nodes of one event loop, joined by direct dispatch. No serialising, no copies of tensors."""

from __future__ import annotations

import copy
from asyncio import CancelledError
from collections import deque
from typing import TYPE_CHECKING, ClassVar

import msgspec

from fedbench.errors import ConnectionBroken, ConnectionClosed, Overloaded, PeerLost, RoutingError
from fedbench.messages import ATOMS, DATA, RPC_REQUEST, RPC_RESPONSE, Channel, Message, snapshot, weight_bytes
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.connection import Connection, closing
from fedbench.transport.receipt import ACKED, Ledger, Outcome, Receipt

if TYPE_CHECKING:
    from fedbench.ids import Role


class Hub:
    """Where the nodes of one memory federation find each other, by id."""

    def __init__(self) -> None:
        self._nodes: dict[str, MemoryTransport] = {}
        self._epochs: dict[tuple[str, str], int] = {}

    def add(self, node_id: str, transport: MemoryTransport) -> None:
        """Make ``node_id`` reachable through ``transport``.

        Raises:
            RoutingError: Another transport has that id.
        """
        if self._nodes.setdefault(node_id, transport) is not transport:
            raise RoutingError(node_id, node_id, "another node of this hub has the same id")

    def remove(self, node_id: str, transport: MemoryTransport) -> None:
        """Make ``node_id`` unreachable; no effect if it is not ``transport``'s."""
        if self._nodes.get(node_id) is transport:
            del self._nodes[node_id]

    def find(self, source: str, target: str) -> MemoryTransport:
        """Return the transport of ``target``.

        Raises:
            RoutingError: No node of that id listens here.
        """
        try:
            return self._nodes[target]
        except KeyError:
            raise RoutingError(source, target, "no such node listens") from None

    def next_epoch(self, one: str, other: str) -> int:
        """Return how often this pair has been connected, this time included."""
        pair = (one, other) if one < other else (other, one)
        self._epochs[pair] = self._epochs.get(pair, 0) + 1
        return self._epochs[pair]


_default_hub = Hub()


class MemoryConnection(Connection):
    """One end of a pair in the same event loop.

    A message is handed to the peer inside ``send``. If the peer is just handling another one (it was reached
    from one of its own handlers), the message waits until that handler returns: order holds and the stack
    stays flat. Control messages overtake those that wait.
    """

    lossless: ClassVar[bool] = True
    reports_death: ClassVar[bool] = True

    def __init__(self, local_id: str, peer_id: str, epoch: int, limits: Limits) -> None:
        super().__init__(local_id, peer_id, epoch, limits)
        self._other: MemoryConnection | None = None
        self._taking = True  # until it is started, so that nothing overtakes what came before
        self._waiting: dict[Channel, deque[tuple[Message, Receipt]]] = {
            Channel.CONTROL: deque(),
            Channel.BUSINESS: deque(),
        }
        self._waiting_bytes = 0
        self._applied = Receipt(Ledger(), ACKED)  # of every call that was taken: nothing more happens to it
        self._applied.apply()

    @staticmethod
    def pair(one: str, other: str, epoch: int, limits: Limits) -> tuple[MemoryConnection, MemoryConnection]:
        """Return both ends of a new connection."""
        left, right = MemoryConnection(one, other, epoch, limits), MemoryConnection(other, one, epoch, limits)
        left._other, right._other = right, left
        return left, right

    def start(self) -> None:
        """Hand over what the peer sent while this end was being opened."""
        self._taking = True
        try:
            self._drain()
        finally:
            self._taking = False

    def abort(self, reason: str = "its node ended without closing") -> None:
        """End this side as a crash would: the peer sees :class:`PeerLost`."""
        if not self._mark(ConnectionClosed(f"{self.local_id} is gone: {reason}")):
            return
        other = self._other
        self._drop_waiting(PeerLost(self.local_id, reason))
        if other is not None:
            other._drop_waiting(ConnectionBroken(f"{self.local_id} is gone"))
            other._finish(PeerLost(self.local_id, reason))
        self._tell()

    async def writable(self) -> None:
        """Wait until the peer has received some of the data that waits there."""
        assert self._other is not None
        if self._other.inbox is not None:
            await self._other.inbox.space()

    def _write(self, message: Message) -> Receipt:
        if type(message.body) not in ATOMS:
            body = snapshot(message.body)
            message = copy.copy(message)  # the sender keeps its own
            msgspec.structs.force_setattr(message, "body", body)
        other = self._other
        assert other is not None
        kind = message.kind
        if kind is not RPC_REQUEST and kind is not RPC_RESPONSE:
            self._check_running(message)
        if kind is DATA and other.inbox is not None:
            waiting = len(other._waiting[Channel.BUSINESS])
            if other.inbox.full(waiting, other._waiting_bytes):
                raise Overloaded(f"nobody at {self.peer_id} receives from {self.local_id}: its queue is full")
        if other._taking or other.receiver is None:
            return other._enqueue(message, self)
        # Without _hand_over and, for calls, without a receipt of their own: this is the way of every message.
        owner = other.owners.get(kind)
        receipt = Receipt(self.ledger, ACKED) if owner is None else self._applied
        other._taking = True
        try:
            if owner is None:
                other.receiver(message, receipt)
            else:
                self.ledger.accepted += 1
                self.ledger.acked += 1
                other.received[kind] += 1
                owner(message)
        except (Exception, CancelledError) as error:
            if owner is not None:
                receipt = Receipt(Ledger(), ACKED)
            other._not_taken(message, receipt, error)
        finally:
            other._taking = False
            if other._waiting_bytes:
                other.start()
        return receipt

    def _enqueue(self, message: Message, sender: MemoryConnection) -> Receipt:
        count = sum(len(queue) for queue in self._waiting.values())
        if count >= self.limits.messages or self._waiting_bytes >= self.limits.nbytes:
            raise Overloaded(
                f"{self.local_id} has {count} messages ({self._waiting_bytes} bytes) waiting from "
                f"{self.peer_id}: let its handler return first"
            )
        receipt = Receipt(sender.ledger)
        self._waiting[message.kind.channel].append((message, receipt))
        self._waiting_bytes += weight_bytes(message)
        return receipt

    def _drain(self) -> None:
        control, business = self._waiting[Channel.CONTROL], self._waiting[Channel.BUSINESS]
        while control or business:
            message, receipt = (control or business).popleft()
            self._waiting_bytes -= weight_bytes(message)
            receipt.ack()
            self._hand_over(message, receipt)

    def _drop_waiting(self, reason: Exception) -> None:
        for queue in self._waiting.values():
            while queue:
                queue.popleft()[1].end(Outcome.LOST, reason)
        self._waiting_bytes = 0

    def _shut(self, why: str) -> None:
        other = self._other
        assert other is not None
        reason = ConnectionBroken(closing(self.local_id, self.peer_id, why), why)
        self._drop_waiting(reason)
        other._drop_waiting(reason)
        other._finish(reason)


class MemoryTransport(TransportBase):
    """Connects nodes of one event loop through a hub.

    Args:
        node_id: The node that this transport serves; more can share it (:meth:`start_event_listener`).
        hub: Where nodes find each other; by default one hub for the whole process.
        role: ``server`` or ``client``; by default what the id says.
        limits: Bounds of every queue.
    """

    scheme: ClassVar[str] = "memory"
    own_turn: ClassVar[bool] = False

    def __init__(
        self, node_id: str, hub: Hub | None = None, *, role: Role | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(node_id, role=role, limits=limits)
        self._hub = _default_hub if hub is None else hub

    async def _listen(self, node_id: str) -> None:
        self._hub.add(node_id, self)

    def _unlisten(self, node_id: str) -> None:
        self._hub.remove(node_id, self)

    async def _open(self, source: str, target: str) -> Connection:
        peer = self._hub.find(source, target)
        self._check_roles(source, target, peer.role_of(target))
        epoch = self._hub.next_epoch(source, target)
        near, far = MemoryConnection.pair(source, target, epoch, self.limits)
        peer._adopt(far)
        return near
