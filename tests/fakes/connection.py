"""FakeConnection: records what is sent, and hands it to a paired end one loop turn later.

Memory dispatches inside ``send``; this one does not. What passes over both does not depend on either.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter, deque
from typing import ClassVar

from msgspec.structs import force_setattr

from fedbench.errors import ConnectionBroken, ConnectionClosed, Overloaded, PeerLost, RoutingError
from fedbench.messages import Channel, Kind, Message, snapshot, weight_bytes
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.connection import Connection, closing
from fedbench.transport.receipt import Outcome, Receipt


class FakeConnection(Connection):
    """One end of a pipe, or a pipe into nothing when it is not paired.

    Attributes:
        sent: Every accepted message, in order.
        receipts: Its receipts.
        refuse: Raised by the next sends, None for none.
    """

    reports_death: ClassVar[bool] = True

    def __init__(
        self, local_id: str = "memory_client_1", peer_id: str = "memory_server", epoch: int = 1
    ) -> None:
        super().__init__(local_id, peer_id, epoch)
        self.sent: list[Message] = []
        self.receipts: list[Receipt] = []
        self.refuse: Exception | None = None
        self.other: FakeConnection | None = None
        self._arriving: dict[Channel, deque[tuple[Message, Receipt]]] = {
            channel: deque() for channel in (Channel.CONTROL, Channel.BUSINESS)
        }
        self._scheduled = False

    @staticmethod
    def pair(
        one: str, other: str, epoch: int = 1, limits: Limits | None = None
    ) -> tuple[FakeConnection, FakeConnection]:
        """Return both ends of a new pipe."""
        ends = FakeConnection(one, other, epoch), FakeConnection(other, one, epoch)
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.limits = limits or Limits()
        return ends

    def abort(self, reason: str = "its node ended without closing") -> None:
        """End this side as a crash would."""
        self._end(PeerLost(self.local_id, reason), ConnectionClosed(f"{self.local_id} is gone"))

    async def writable(self) -> None:
        """Wait until the peer has taken what was sent, and its inbox has room."""
        await asyncio.sleep(0)
        if self.other is not None and self.other.inbox is not None:
            await self.other.inbox.space()

    def start(self) -> None:
        """Take what arrived early."""
        self._schedule()

    def _write(self, message: Message) -> Receipt:
        if self.refuse is not None:
            raise self.refuse
        self._check_running(message)
        sent = copy.copy(message)
        force_setattr(sent, "body", snapshot(message.body))
        if self.other is not None:
            self.other._check_room(sent)
        receipt = Receipt(self.ledger)
        self.sent.append(sent)
        self.receipts.append(receipt)
        if self.other is not None:
            self.other._arriving[sent.channel].append((sent, receipt))
            self.other._schedule()
        return receipt

    def _check_room(self, message: Message) -> None:
        waiting = [entry[0] for queue in self._arriving.values() for entry in queue]
        nbytes = sum(map(weight_bytes, waiting))
        if len(waiting) >= self.limits.messages or nbytes >= self.limits.nbytes:
            raise Overloaded(f"{self.local_id} has {len(waiting)} messages ({nbytes} bytes) waiting")
        if message.kind is Kind.DATA and self.inbox is not None and self.inbox.full(len(waiting), nbytes):
            raise Overloaded(f"nobody at {self.local_id} receives")

    def _schedule(self) -> None:
        if self.receiver is not None and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        self._scheduled = False
        control, business = self._arriving[Channel.CONTROL], self._arriving[Channel.BUSINESS]
        while control or business:
            message, receipt = (control or business).popleft()
            receipt.ack()
            self._hand_over(message, receipt)

    def _shut(self, why: str) -> None:
        self._end(ConnectionBroken(closing(self.local_id, self.peer_id, why), why), None)

    def _end(self, theirs: ConnectionBroken, ours: ConnectionClosed | None) -> None:
        for end in (self, self.other):
            for queue in end._arriving.values() if end is not None else ():
                while queue:
                    queue.popleft()[1].end(Outcome.LOST, theirs)
        if self.other is None:
            for receipt in self.receipts:
                receipt.end(Outcome.LOST, theirs)
        told = ours is not None and self._mark(ours)
        if self.other is not None:
            self.other._finish(theirs)
        if told:
            self._tell()


class FakeHub:
    """Where the nodes of a test find each other."""

    def __init__(self) -> None:
        self.nodes: dict[str, FakeTransport] = {}
        self.epochs: Counter[frozenset[str]] = Counter()


class FakeTransport(TransportBase):
    """Joins nodes by FakeConnections."""

    scheme: ClassVar[str] = "fake"

    def __init__(self, node_id: str, hub: FakeHub, **options: object) -> None:
        super().__init__(node_id, **options)  # type: ignore[arg-type]
        self._hub = hub

    async def _listen(self, node_id: str) -> None:
        if self._hub.nodes.setdefault(node_id, self) is not self:
            raise RoutingError(node_id, node_id, "another node has the same id")

    def _unlisten(self, node_id: str) -> None:
        del self._hub.nodes[node_id]

    async def _open(self, source: str, target: str) -> Connection:
        if target not in self._hub.nodes:
            raise RoutingError(source, target, "no such node listens")
        peer = self._hub.nodes[target]
        self._check_roles(source, target, peer.role_of(target))
        self._hub.epochs[frozenset((source, target))] += 1
        epoch = self._hub.epochs[frozenset((source, target))]
        near, far = FakeConnection.pair(source, target, epoch, self.limits)
        peer._adopt(far)
        return near
