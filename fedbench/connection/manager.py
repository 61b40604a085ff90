"""ConnectionManager: owns a node's connections and hands every inbound message to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedbench.connection.pool import ConnectionPool, Link
from fedbench.connection.router import Router
from fedbench.errors import ConnectionBroken, ConnectionClosed, LocalProtocolError
from fedbench.ids import current_node
from fedbench.messages import Channel, Kind, Message
from fedbench.transport.dispatch import Dispatcher, Handler, add_handler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from fedbench.ids import Role
    from fedbench.transport.base import TransportBase
    from fedbench.transport.connection import Connection, Receiver
    from fedbench.transport.receipt import Delivery


class ConnectionListener(Protocol):
    """Who is told of connections and of control messages."""

    def connected(self, peer_id: str, epoch: int) -> None:
        """A connection to ``peer_id`` is up."""
        ...

    def disconnected(self, peer_id: str, reason: Exception) -> None:
        """The connection to ``peer_id`` is over."""
        ...

    def handle(self, message: Message) -> None:
        """A control message has arrived."""
        ...


class ConnectionManager:
    """A node's connections: pool, router and the demultiplexing of what comes in.

    Args:
        node_id: The node.
        transport: Where its connections come from.
        listener: Who is told of connections and control messages.
        context: Context in which handlers of this node run.
    """

    def __init__(
        self, node_id: str, transport: TransportBase, listener: ConnectionListener, context: Context
    ) -> None:
        self.node_id = node_id
        self.pool = ConnectionPool()
        self.router = Router(node_id, self.pool)
        self._transport = transport
        self._listener = listener
        self._owners: dict[Kind, Callable[[Message], None]] = {}
        self._handlers: dict[Kind, list[Handler]] = {}
        self._dispatcher = Dispatcher(context)
        transport.on_connection(node_id, self._opened)

    @property
    def own_turn(self) -> bool:
        """Whether messages come in a turn of the loop of their own; see :class:`TransportBase`."""
        return self._transport.own_turn

    async def listen(self, role: Role | None = None) -> None:
        """Make this node reachable, as a ``server`` or ``client`` where its id does not tell."""
        await self._transport.start_event_listener(self.node_id, role=role)

    async def connect(self, peer_id: str) -> None:
        """Open a connection to ``peer_id``, or keep the one there is.

        Raises:
            RoutingError: The peer is unknown or of the same role.
        """
        await self._transport.connect(peer_id, self.node_id)

    async def disconnect(self, peer_id: str) -> None:
        """Close the connection to ``peer_id``; idempotent."""
        await self._transport.disconnect(peer_id, self.node_id)

    def own(self, kind: Kind, handler: Callable[[Message], None]) -> None:
        """Make ``handler`` the one receiver of a kind. It must return at once and not raise.

        Unlike other handlers it runs in the sender's context: this is the way of every call.

        Raises:
            LocalProtocolError: Somebody owns that kind already.
        """
        if kind in self._owners:
            raise LocalProtocolError(f"{kind.value} messages of {self.node_id} have an owner already")
        self._owners[kind] = handler

    def owner(self, kind: Kind) -> Callable[[Message], None] | None:
        """Return the owner of a kind, None if it has none."""
        return self._owners.get(kind)

    def register(self, kind: Kind, handler: Handler) -> Callable[[], None]:
        """Add a handler for a business kind; the result removes it, once."""
        return add_handler(self._handlers.setdefault(kind, []), handler)

    def handlers(self, kind: Kind) -> list[Handler]:
        """Return the handlers of a kind, as they are at any time: :meth:`register` changes the list."""
        return self._handlers.setdefault(kind, [])

    def apply(self, message: Message) -> Awaitable[None]:
        """Call this node's handlers with a message that came as part of another, and wait for them."""
        return self._dispatcher.apply(tuple(self._handlers.get(message.kind, ())), message)

    async def close(self) -> None:
        """Close every connection and the transport, and end the handlers that still run."""
        self.pool.close()
        await self._transport.close()
        await self._dispatcher.close()

    def _opened(self, connection: Connection) -> None:
        link = self.router.link(connection)
        connection.receiver = self._receiver(link)
        connection.owners, connection.received = self._owners, link.received
        self.pool.add(link)
        self._listener.connected(connection.peer_id, connection.epoch)
        connection.on_closed(self._lost)

    def _lost(self, connection: Connection, reason: ConnectionBroken | ConnectionClosed) -> None:
        if self.pool.remove(connection):
            self._listener.disconnected(connection.peer_id, reason)

    def _receiver(self, link: Link) -> Receiver:
        """Return what takes the messages of one link, those of owned kinds, too, where a session has them."""
        owners, handlers, received = self._owners, self._handlers, self.router.received
        run = self._dispatcher.run

        def receive(message: Message, delivery: Delivery) -> None:
            received(link, message)
            kind = message.kind
            if kind in owners:
                owners[kind](message)
                delivery.apply()
            elif some := handlers.get(kind):
                run(tuple(some), message, delivery)
            elif kind.channel is Channel.CONTROL:
                self._control(message, delivery)
            else:
                self._transport.deliver(message, delivery)

        return receive

    def _control(self, message: Message, delivery: Delivery) -> None:
        token = current_node.set(self.node_id)
        try:
            self._listener.handle(message)
        finally:
            current_node.reset(token)
        delivery.apply()
