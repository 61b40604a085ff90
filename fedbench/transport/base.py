"""TransportBase: the verbs of a node, once for all modes. A backend says how connections come to be."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

from fedbench.errors import (
    ConnectionBroken,
    ConnectionClosed,
    LocalProtocolError,
    Overloaded,
    RoutingError,
    TensorStoreFull,
)
from fedbench.ids import Role, check_name, parse
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.connection import FENCED, Connection
from fedbench.transport.events import Events
from fedbench.transport.inbox import Inbox, Limits
from fedbench.transport.receipt import Delivery, Ledger, Outcome, Receipt

__all__ = ["Limits", "TransportBase"]

log = logging.getLogger("fedbench.transport")

ConnectionCallback = Callable[[Connection], None]
Unsubscribe = Callable[[], None]

_SPARE_INBOXES = 1024  # of pairs without a connection: they tell who receives from one of them why it is over


class _Opening:
    """A connection that is being opened: one at a time, however many callers wait for it."""

    __slots__ = ("callers", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.callers = 0


class TransportBase(ABC):
    """The verbs of a node. One event loop; every coroutine may be cancelled and leaves nothing behind.

    A backend implements :meth:`_listen`, :meth:`_unlisten` and :meth:`_open`, and a
    :class:`~fedbench.transport.connection.Connection` of its own.

    Args:
        node_id: The node served; the default source of :meth:`connect`.
        role: ``server`` or ``client``; by default what the id says, unknown for a name chosen by the user.
        limits: Bounds of every queue.

    Raises:
        ValueError: ``node_id`` may not name a node.
    """

    scheme: ClassVar[str]
    own_turn: ClassVar[bool] = True
    """Whether messages come in a turn of the loop of their own, not within the ``send`` of their sender."""
    inbox_limits: ClassVar[Limits | None] = None
    """Bounds of what waits for :meth:`receive`, where they are not those of every queue."""

    def __init__(self, node_id: str, *, role: Role | None = None, limits: Limits | None = None) -> None:
        self.node_id = check_name(node_id)
        self.limits = limits or Limits()
        self._roles: dict[str, Role | None] = {node_id: role or parse(node_id).role}
        self._listening: set[str] = set()
        self._connections: dict[tuple[str, str], Connection] = {}
        self._opening: dict[tuple[str, str], _Opening] = {}
        self._inboxes: dict[tuple[str, str], Inbox] = {}
        self._on_connection: dict[str, ConnectionCallback] = {}
        self._events = Events()
        self._closed = False
        self.refused: Counter[str] = Counter()

    # Nodes -------------------------------------------------------------------------------------------

    def role_of(self, node_id: str) -> Role | None:
        """Return the role of a node served here, None when unknown."""
        return self._roles.get(node_id)

    async def start_event_listener(self, node_id: str | None = None, *, role: Role | None = None) -> None:
        """Make a node reachable: by default this transport's own, else one more that shares it. Idempotent.

        Raises:
            RoutingError: Another transport serves that id already.
            ConnectionClosed: The transport was closed.
        """
        node = self.node_id if node_id is None else check_name(node_id)
        self._check_open()
        if self._roles.get(node) is None:
            self._roles[node] = role or parse(node).role
        if node in self._listening:
            return
        await self._listen(node)
        self._listening.add(node)

    def on_connection(self, node_id: str, callback: ConnectionCallback) -> None:
        """Call ``callback`` with every new connection of ``node_id``, before anything arrives on it.

        One callback a node: a later one takes the place of an earlier one.
        """
        self._on_connection[node_id] = callback

    async def connect(self, target: str, source: str | None = None) -> Connection:
        """Return the open connection from ``source`` (by default this node) to ``target``, or a new one.

        Raises:
            RoutingError: Unknown target, a source not served here, or two nodes of the same role.
            ConnectionClosed: The transport was closed.
        """
        self._check_open()
        node = self.node_id if source is None else source
        connection = self._connections.get((node, target))
        if connection is not None and not connection.closed:
            return connection
        if node not in self._roles:
            raise self._refuse(node, target, "the source is not a node of this transport")
        if node == target:
            raise self._refuse(node, target, "a node does not connect to itself")
        pair = (node, target)
        opening = self._opening.setdefault(pair, _Opening())
        opening.callers += 1
        try:
            async with opening.turn:
                connection = self._connections.get(pair)  # somebody else may have opened it meanwhile
                if connection is None or connection.closed:
                    connection = await self._open_and_adopt(node, target)
                return connection
        finally:
            opening.callers -= 1
            if not opening.callers:
                del self._opening[pair]

    async def _open_and_adopt(self, node: str, target: str) -> Connection:
        try:
            connection = await self._open(node, target)
        except RoutingError as error:
            raise self._refuse(node, target, error.reason) from None
        if self._connections.get((node, target)) is not connection:
            self._adopt(connection)
        return connection

    async def disconnect(self, target: str, source: str | None = None) -> None:
        """Close the connection to ``target``; idempotent."""
        connection = self._connections.get((self.node_id if source is None else source, target))
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Stop listening, close every connection and end whoever still receives; idempotent."""
        self._closed = True
        for node in sorted(self._listening):
            self._unlisten(node)
        self._listening.clear()
        for connection in list(self._connections.values()):
            connection.close()
        for inbox in self._inboxes.values():
            inbox.end(self._closed_error())
        await self._events.close()

    # Sending -----------------------------------------------------------------------------------------

    async def send(self, source: str, target: str, data: Any) -> Receipt:
        """Send plain data or a :class:`ModelState` for somebody who calls :meth:`receive`.

        Waits while the target's queue is full. FIFO per source and target.

        Raises:
            RoutingError: As for :meth:`connect`.
            ConnectionClosed: The transport was closed.
            LocalProtocolError: ``data`` is not plain data.
        """
        connection = await self.connect(target, source)
        message = _message(Kind.DATA, source, target, data)
        async with connection.turn:
            while True:
                try:
                    return connection.send(message)
                except Overloaded:
                    await connection.writable()

    async def broadcast(self, source: str, targets: Iterable[str], data: Any) -> dict[str, Receipt]:
        """Send the same data to each target; one that cannot be reached gets a rejected (falsy) receipt.

        A target whose queue is full is waited for, without holding up the others.
        """
        receipts: dict[str, Receipt] = {}
        full: list[str] = []
        for target in targets:
            message = _message(Kind.DATA, source, target, data)
            receipts[target] = await self._attempt(self._send_message(message))
            if isinstance(receipts[target].error, Overloaded):
                full.append(target)
        if full:
            late = await asyncio.gather(*(self._attempt(self.send(source, target, data)) for target in full))
            receipts.update(zip(full, late, strict=True))
        return receipts

    async def push(
        self, source: str, targets: Iterable[str], model: ModelState, event_type: str = "model"
    ) -> dict[str, Receipt]:
        """Push a model to each target's handlers; one that cannot be reached gets a rejected receipt.

        Nothing is waited for: a target whose queue is full, or whose handlers lag behind by as much as the
        limits allow, counts as one that cannot be reached.

        Raises:
            LocalProtocolError: ``model`` is not a ModelState.
        """
        receipts = {}
        for target in targets:
            message = _message(Kind.MODEL_PUSH, source, target, model, event_type)
            receipts[target] = await self._attempt(self._send_message(message))
        return receipts

    async def push_event(self, source: str, target: str, event_type: str, data: Any) -> Receipt:
        """Send an event to the target's handlers for ``event_type``.

        Raises:
            RoutingError: As for :meth:`connect`.
            LocalProtocolError: ``data`` is neither plain data nor a ModelState.
            Overloaded: The target's handlers lag behind by as much as the limits allow.
        """
        return await self._send_message(_message(Kind.CLIENT_NOTIFY, source, target, data, event_type))

    # Receiving ---------------------------------------------------------------------------------------

    async def receive(self, target: str, source: str, timeout: float | None = None) -> Any:
        """Return the oldest data from ``source`` to ``target``, a node served here; wait for it if need be.

        Args:
            target: The receiving node.
            source: The sending node.
            timeout: Seconds to wait; None for ever.

        Raises:
            TimeoutError: Nothing came in time.
            RoutingError: ``target`` is not served here.
            ConnectionBroken: Nothing is left and the source is gone.
            ConnectionClosed: Nothing is left, and the connection or the transport was closed here.
        """
        if target not in self._roles:
            raise self._refuse(source, target, "the target is not a node of this transport")
        inbox = self._inbox(target, source)
        if timeout is None:
            return await inbox.get()
        try:
            async with asyncio.timeout(timeout):
                return await inbox.get()
        except TimeoutError:
            raise TimeoutError(f"nothing from {source!r} to {target!r} within {timeout} s") from None

    def subscribe(self, callback: Callable[[Message], Awaitable[object] | None]) -> Unsubscribe:
        """Call ``callback`` with every inbound message that is not ``DATA``; call the result to stop.

        It hears what no layer above takes: under a ``CommunicationManager`` no control messages, and none
        of a kind that has handlers or an owner there.
        """
        return self._events.subscribe(callback)

    def register_event_handler(
        self, event_type: str, handler: Callable[[str, Any], Awaitable[object] | None]
    ) -> Unsubscribe:
        """Call ``handler(source, data)`` with every event or model of a type; call the result to stop.

        Like a subscriber (:meth:`subscribe`), it hears only what no layer above takes.
        """
        return self._events.register(event_type, handler)

    def deliver(self, message: Message, delivery: Delivery) -> None:
        """Take one inbound message: the receiver of every connection that no layer above has claimed."""
        if message.kind is Kind.DATA:
            self._inbox(message.target, message.source).put(message)
            delivery.apply()
        else:
            self._events.dispatch(message, delivery)

    # For backends ------------------------------------------------------------------------------------

    @abstractmethod
    async def _listen(self, node_id: str) -> None:
        """Make ``node_id`` reachable for others."""

    @abstractmethod
    def _unlisten(self, node_id: str) -> None:
        """Make ``node_id`` unreachable for new connections."""

    @abstractmethod
    async def _open(self, source: str, target: str) -> Connection:
        """Open a connection; the target's transport adopts the other end.

        Where both ends open one at once it may return the one that was adopted here instead.

        Raises:
            RoutingError: Unknown target, or one that may not be connected (:meth:`_check_roles`).
        """

    def _adopt(self, connection: Connection) -> None:
        """Own a new connection; an older one of the same pair is fenced off.

        What the peer sends meanwhile waits, so that the callback may claim the connection first.
        """
        pair = (connection.local_id, connection.peer_id)
        older = self._connections.get(pair)
        self._connections[pair] = connection
        connection.inbox = self._inbox(*pair)
        connection.inbox.reopen()
        if older is not None:
            older.close(FENCED)
        connection.on_closed(self._forget)
        callback = self._on_connection.get(connection.local_id)
        if callback is not None:
            callback(connection)
        if connection.receiver is None:
            connection.receiver = self.deliver
        connection.start()

    def _check_roles(self, source: str, target: str, target_role: Role | None) -> None:
        role = self._roles[source]
        if role is not None and role == target_role:
            raise RoutingError(source, target, f"{role} to {role} is not permitted")

    # Inside ------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> ConnectionClosed:
        return ConnectionClosed(f"the transport of {self.node_id} is closed")

    def _refuse(self, source: str, target: str, reason: str) -> RoutingError:
        self.refused[f"{source}->{target}"] += 1
        log.warning("refused a route from %s to %s: %s", source, target, reason)
        return RoutingError(source, target, reason)

    async def _send_message(self, message: Message) -> Receipt:
        connection = await self.connect(message.target, message.source)
        if message.kind is Kind.DATA and connection.turn.locked():
            raise Overloaded(f"others wait already for room at {message.target}")
        return connection.send(message)

    @staticmethod
    async def _attempt(sending: Awaitable[Receipt]) -> Receipt:
        try:
            return await sending
        except (RoutingError, ConnectionBroken, ConnectionClosed, Overloaded, TensorStoreFull) as error:
            receipt = Receipt(Ledger())
            receipt.end(Outcome.REJECTED, error)
            return receipt

    def _inbox(self, target: str, source: str) -> Inbox:
        pair = (target, source)
        inbox = self._inboxes.get(pair)
        if inbox is None:
            self._drop_idle_inbox()
            inbox = self._inboxes[pair] = Inbox(self.inbox_limits or self.limits)
            if self._closed:
                inbox.end(self._closed_error())
        return inbox

    def _drop_idle_inbox(self) -> None:
        """Make room: the oldest inbox without a use goes, and with it the reason why its source left."""
        if len(self._inboxes) - len(self._connections) >= _SPARE_INBOXES:
            idle = (p for p, inbox in self._inboxes.items() if p not in self._connections and inbox.idle)
            pair = next(idle, None)
            if pair is not None:
                del self._inboxes[pair]

    def _forget(self, connection: Connection, reason: ConnectionBroken | ConnectionClosed) -> None:
        pair = (connection.local_id, connection.peer_id)
        if self._connections.get(pair) is connection:
            del self._connections[pair]
            self._inboxes[pair].end(reason)


def _message(kind: Kind, source: str, target: str, data: Any, method: str = "") -> Message:
    body, tensors = (None, data) if isinstance(data, ModelState) else (data, None)
    if kind is Kind.MODEL_PUSH and tensors is None:
        raise LocalProtocolError(
            f"push takes a ModelState, not a {type(data).__name__}: use push_event for data"
        )
    return Message(kind, source, target, method, body, tensors, sent_ns=time.monotonic_ns())
