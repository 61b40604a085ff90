"""CommunicationManager: the one object that the RPC layer is given."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING, Any

from fedbench.clock import Clock, LoopClock
from fedbench.connection.manager import ConnectionManager
from fedbench.control.service import ControlService
from fedbench.errors import LocalProtocolError
from fedbench.ids import Role, current_node
from fedbench.messages import BUSINESS_KINDS, Channel, Kind, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedbench.transport.base import TransportBase
    from fedbench.transport.receipt import Receipt


class CommunicationManager:
    """A node's communication: connections (layer 3) and control (layer 4) over one transport (layer 5).

    Args:
        node_id: The node.
        transport: Its transport; closed with this manager.
        role: ``server`` admits clients, ``client`` registers at a server.
        clock: Time; tests hand in their own.

    Attributes:
        connections: Layer 3.
        control: Layer 4; ``control.monitor`` takes ``on_connect``, ``on_disconnect`` and ``on_reconnect``.
        context: Context in which this node's handlers run; log records of theirs carry the node's id.
    """

    def __init__(
        self, node_id: str, transport: TransportBase, *, role: Role, clock: Clock | None = None
    ) -> None:
        self.node_id = node_id
        self.role = role
        self.context = contextvars.copy_context()
        self.context.run(current_node.set, node_id)
        self.control = ControlService(node_id, role, self._send_control, clock or LoopClock())
        self.connections = ConnectionManager(node_id, transport, self.control, self.context)
        self._server_id: str | None = None

    async def start(self) -> None:
        """Make this node reachable."""
        await self.connections.listen(self.role)

    async def register_client(self, server_id: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Connect to a server and register there; idempotent while registered.

        Returns:
            What the server says of this client, as plain data: index, count and seed in a federation.

        Raises:
            LocalProtocolError: This node is a server.
            RoutingError: There is no such server.
            RegistrationError: The server refused, or did not answer within ``timeout_s`` seconds.
        """
        if self.role != "client":
            raise LocalProtocolError(f"{self.node_id} is a server: clients register, servers admit them")
        await self.connections.connect(server_id)
        introduction = await self.control.register(server_id, timeout_s)
        self._server_id = server_id
        return introduction

    async def unregister_client(self) -> None:
        """Leave the server in order and disconnect; no effect when not registered."""
        if self._server_id is not None:
            server_id, self._server_id = self._server_id, None
            await self.control.unregister(server_id)
            await self.connections.disconnect(server_id)

    def start_heartbeat(self, interval: float = 30.0) -> None:
        """Send a heartbeat to every peer each ``interval`` seconds, with one timer for the whole node.

        Connections that report death themselves (memory, process) do not need it.
        """
        self.control.start_heartbeat(interval)

    def send_business_message(self, message: Message) -> Receipt:
        """Send a business message to its target. Returning means: queued here. Never blocks.

        Raises:
            RoutingError: The source is not this node, or there is no connection to the target.
            LocalProtocolError: It is a control message, or its body is not plain data.
            TransportError: As for :meth:`Connection.send`.
        """
        return self.connections.router.send(message)

    def register_message_handler(
        self, kind: Kind, handler: Callable[[Message], Awaitable[object] | None]
    ) -> Callable[[], None]:
        """Call ``handler`` with every inbound message of a business kind; call the result to stop.

        Several handlers of a kind run in the order of registration. Plain functions run inside the delivery
        and must not block; coroutine functions run as tasks, started in order of arrival.

        Raises:
            LocalProtocolError: ``kind`` is a control kind.
        """
        if kind.channel is not Channel.BUSINESS:
            names = ", ".join(business.name for business in BUSINESS_KINDS)
            raise LocalProtocolError(f"{kind.name} belongs to the control service: handle one of {names}")
        return self.connections.register(kind, handler)

    def get_connection_status(self) -> dict[str, Any]:
        """Return this node's view: id, role, and per peer its state, epoch, counts and ledger."""
        status = self.control.get_status()
        for peer_id, peer in status["peers"].items():
            link = self.connections.pool.find(peer_id)
            peer["ledger"] = None if link is None else link.connection.ledger.counts()
        status["routes"] = self.connections.router.counts()
        return status

    async def close(self) -> None:
        """Unregister, close every connection and the transport; idempotent."""
        self.control.closing()
        await self.unregister_client()
        await self.connections.close()
        self.control.close()

    def _send_control(self, peer_id: str, kind: Kind, body: Any) -> Receipt:
        message = Message(kind, self.node_id, peer_id, body=body, sent_ns=time.monotonic_ns())
        return self.connections.router.send(message)
