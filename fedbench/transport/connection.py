"""Connection: one live pipe between two nodes, seen from one end."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import ClassVar

from fedbench.errors import ConnectionBroken, ConnectionClosed, Overloaded, RoutingError
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from fedbench.transport.dispatch import describe
from fedbench.transport.inbox import Inbox, Limits
from fedbench.transport.receipt import Delivery, Ledger, Receipt

log = logging.getLogger("fedbench.transport")

FENCED = "another node of that id has connected in its place"
"""Why a connection is closed when there is a newer one of the same pair."""

Receiver = Callable[[Message, Delivery], None]
ClosedCallback = Callable[["Connection", ConnectionBroken | ConnectionClosed], None]


def closing(node_id: str, peer_id: str, why: str) -> str:
    """Return the text for a connection that a node has closed."""
    return f"{node_id} closed its connection to {peer_id}{': ' if why else ''}{why}"


class Connection(ABC):
    """One end of a live pipe between two nodes. Single event loop, no locking.

    Messages sent on one end are handed to the other end's :attr:`receiver` in order, control messages
    before waiting business messages; what arrives before there is a receiver waits for :meth:`start`. A
    backend implements :meth:`writable`, :meth:`_write` and :meth:`_shut`.

    Attributes:
        local_id: Node at this end; the only source that may send here.
        peer_id: Node at the other end; the only target.
        epoch: How often this pair has been connected, from 1.
        lossless: Whether the medium cannot lose or repeat a message while both ends live, so that no
            session (numbering, acknowledgement, resending) is needed above it.
        reports_death: Whether the medium tells of the peer's death, so that no heartbeat is needed above it.
        receiver: Called with every inbound message and its delivery; set by the owner before messages flow.
        owners: Kinds that one function each takes instead, which returns at once and does not raise: such a
            message counts as applied as soon as it is handed over. Set by the owner.
        received: How many messages of each of those kinds came in; set by the owner, too.
        turn: Held by a sender that waits for room, so that senders are served in order.
        limits: Bounds of what may wait for the peer, and of what its handlers may still be working on.
        inbox: Where ``DATA`` from the peer waits for :meth:`TransportBase.receive`; set by the owner.
        ledger: Outcomes of the messages sent from this end.
    """

    lossless: ClassVar[bool] = False
    reports_death: ClassVar[bool] = False

    def __init__(self, local_id: str, peer_id: str, epoch: int, limits: Limits | None = None) -> None:
        self.local_id = local_id
        self.peer_id = peer_id
        self.epoch = epoch
        self.limits = limits or Limits()
        self.ledger = Ledger()
        self.receiver: Receiver | None = None
        self.owners: Mapping[Kind, Callable[[Message], None]] = {}
        self.received: defaultdict[Kind, int] = defaultdict(int)
        self.inbox: Inbox | None = None
        self.turn = asyncio.Lock()
        self._closed: ConnectionBroken | ConnectionClosed | None = None
        self._on_closed: list[ClosedCallback] = []

    def __repr__(self) -> str:
        state = "open" if self._closed is None else f"closed: {self._closed}"
        return f"<{type(self).__name__} {self.local_id} -> {self.peer_id} epoch {self.epoch} {state}>"

    @property
    def closed(self) -> bool:
        """Whether the connection is over, from either side."""
        return self._closed is not None

    def on_closed(self, callback: ClosedCallback) -> None:
        """Call ``callback(connection, reason)`` once when the connection is over; at once if it is."""
        if self._closed is None:
            self._on_closed.append(callback)
        else:
            callback(self, self._closed)

    def start(self) -> None:  # noqa: B027  # a medium that holds nothing back has nothing to do here
        """The receiver is set: hand it what has arrived before. Called once, by the owner."""

    def send(self, message: Message) -> Receipt:
        """Accept ``message`` for the peer. Returning means: queued here. Never blocks.

        The body is snapshotted: changing it afterwards, on either side, changes nothing for the other.

        Raises:
            ConnectionClosed: This end was closed.
            ConnectionBroken: The peer ended the connection (:class:`PeerLost` if it died).
            RoutingError: The message's source or target is not this connection's.
            Overloaded: The peer does not keep up: its queue is full, or this is a push or notification and
                as many messages as the limits allow are still with its coroutine handlers.
            LocalProtocolError: The body is not plain data.
        """
        if self._closed is not None:
            raise self._closed.with_traceback(None)
        if message.source != self.local_id or message.target != self.peer_id:
            log.warning("refused a message from %s to %s on %r", message.source, message.target, self)
            raise RoutingError(
                message.source,
                message.target,
                f"this connection belongs to {self.local_id!r} and leads to {self.peer_id!r}",
            )
        return self._write(message)

    def close(self, why: str = "") -> None:
        """End the connection from this side; idempotent. The peer sees :class:`ConnectionBroken`.

        Args:
            why: What both sides are told, empty if there is nothing to tell.
        """
        if self._mark(ConnectionClosed(closing(self.local_id, self.peer_id, why))):
            self._shut(why)
            self._tell()

    @abstractmethod
    async def writable(self) -> None:
        """Wait until the queue that made :meth:`send` raise ``Overloaded`` has room, or the connection ends.

        Cancelling leaves nothing behind.
        """

    @abstractmethod
    def _write(self, message: Message) -> Receipt:
        """Queue ``message`` and return its receipt; whatever cannot be queued raises and is not counted."""

    @abstractmethod
    def _shut(self, why: str) -> None:
        """Tell the other end that this one is closing, and why, and end what is in flight."""

    def _check_running(self, message: Message) -> None:
        """Refuse a push or notification when the peer's handlers have enough to do; :meth:`_write` calls it.

        Calls and ``DATA`` have bounds of their own, and control messages must pass.
        """
        running, nbytes = self.ledger.running, self.ledger.running_bytes
        full = running >= self.limits.messages or nbytes >= self.limits.nbytes
        if full and message.kind in (Kind.MODEL_PUSH, Kind.CLIENT_NOTIFY):
            raise Overloaded(
                f"the handlers of {self.peer_id} still work on {running} messages ({nbytes} bytes) from "
                f"{self.local_id}"
            )

    def _finish(self, reason: ConnectionBroken | ConnectionClosed) -> None:
        """Mark this end as over and tell the owners, once."""
        if self._mark(reason):
            self._tell()

    def _mark(self, reason: ConnectionBroken | ConnectionClosed) -> bool:
        """Refuse every message from here on; False if this end is over already.

        Both ends are marked before anybody is told, so that nobody who is told can still send.
        """
        if self._closed is not None:
            return False
        self._closed = reason
        return True

    def _tell(self) -> None:
        """Tell the owners that this end is over."""
        reason = self._closed
        assert reason is not None
        self.ledger.end(reason)
        callbacks, self._on_closed = self._on_closed, []
        token = current_node.set(self.local_id)
        try:
            for callback in callbacks:
                callback(self, reason)
        finally:
            current_node.reset(token)

    def _hand_over(self, message: Message, delivery: Delivery) -> None:
        """Give an inbound message to the receiver; what it raises stays on this side."""
        try:
            if self.receiver is None:
                raise ConnectionClosed(f"nobody receives for {self.local_id}")
            self.receiver(message, delivery)
        except (Exception, asyncio.CancelledError) as error:  # nobody can cancel what runs at once
            self._not_taken(message, delivery, error)

    def _not_taken(self, message: Message, delivery: Delivery, error: BaseException) -> None:
        """Report what the receiver raised, as this node and to the sender."""
        self._warn_not_taken(message, error)
        delivery.apply(describe(self.local_id, error))

    def _warn_not_taken(self, message: Message, error: BaseException) -> None:
        token = current_node.set(self.local_id)
        log.warning(
            "%s could not take %s from %s", self.local_id, message.kind.value, self.peer_id, exc_info=error
        )
        current_node.reset(token)
