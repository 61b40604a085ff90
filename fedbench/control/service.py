"""ControlService: registration, liveness and status of one node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fedbench.control.heartbeat import Heartbeat
from fedbench.control.monitor import Monitor, PeerState
from fedbench.control.registration import Admissions, PendingReplies
from fedbench.errors import (
    ConnectionClosed,
    LocalProtocolError,
    PeerLost,
    RegistrationError,
    RemoteProtocolError,
    TransportError,
)
from fedbench.messages import Kind, Message
from fedbench.throttle import Throttle

if TYPE_CHECKING:
    from fedbench.clock import Clock
    from fedbench.ids import Role
    from fedbench.transport.receipt import Receipt

log = logging.getLogger("fedbench.control")

SendControl = Callable[[str, Kind, Any], "Receipt"]


class ControlService:
    """Layer 4 of a node. It is told of connections and control messages, and sends through a callable.

    A registration lives as long as its connection. Registration and loss of a client are logged, once each,
    and so is on a client the loss of its server: at INFO when a node leaves in order, at WARNING when it is
    lost.

    Args:
        node_id: The node.
        role: ``server`` admits clients, ``client`` registers.
        send_control: Sends ``(peer_id, kind, body)`` on the control channel and returns the receipt.
        clock: Time.

    Attributes:
        introduce: On a server: returns what a client that registers is told of itself, as plain data, or
            raises :class:`RegistrationError` to refuse it. By default everybody is told nothing.
    """

    def __init__(self, node_id: str, role: Role, send_control: SendControl, clock: Clock) -> None:
        self.node_id = node_id
        self.role = role
        self.introduce: Callable[[str], dict[str, Any]] = lambda client_id: {}
        self.monitor = Monitor()
        self.admissions = Admissions()
        self._send = send_control
        self._clock = clock
        self._registering = PendingReplies("registration")
        self._asking = PendingReplies("status query")
        self._heartbeat = Heartbeat(clock, self._beat)
        self._throttle = Throttle(log, clock)
        self._closing = False
        self._handlers: dict[Kind, Callable[[Message], None]] = {
            Kind.REGISTER: self._on_register,
            Kind.REGISTERED: self._on_registered,
            Kind.UNREGISTER: self._on_unregister,
            Kind.HEARTBEAT: lambda message: None,
            Kind.STATUS_QUERY: self._on_status_query,
            Kind.STATUS: self._on_status,
        }

    # Told by layer 3 -----------------------------------------------------------------------------------

    def connected(self, peer_id: str, epoch: int) -> None:
        """A connection is up."""
        self.monitor.connected(peer_id, epoch, self._clock.now_ns())

    def disconnected(self, peer_id: str, reason: Exception) -> None:
        """A connection is over, and with it the registration of its client."""
        admitted = self.admissions.remove(peer_id)
        registered = self.monitor.peers[peer_id].state is PeerState.REGISTERED
        why = reason.reason if isinstance(reason, PeerLost) else reason  # its text names the peer again
        if admitted and not self._closing:
            log.warning("%s lost client %s: %s", self.node_id, peer_id, why)
        elif registered and not self._closing and not isinstance(reason, ConnectionClosed):
            level = logging.WARNING if isinstance(reason, PeerLost) else logging.INFO
            log.log(level, "%s lost its server %s: %s", self.node_id, peer_id, why)
        self._registering.fail(peer_id, reason)
        self._asking.fail(peer_id, reason)
        self.monitor.disconnected(peer_id, reason)

    def handle(self, message: Message) -> None:
        """Take a control message.

        Raises:
            RemoteProtocolError: Nobody sends that kind to a node of this role.
        """
        self.monitor.seen(message.source, self._clock.now_ns())
        handler = self._handlers.get(message.kind)
        if handler is None:
            raise RemoteProtocolError(f"{message.source} sent an unexpected {message.kind.value}")
        handler(message)

    # Asked by the node ---------------------------------------------------------------------------------

    async def register(self, server_id: str, timeout_s: float) -> dict[str, Any]:
        """Register at a connected server and return how it introduces this client; nothing while registered.

        Raises:
            RegistrationError: It refused, is gone, or did not answer in time.
        """
        peer = self.monitor.peers.get(server_id)
        if peer is not None and peer.state is PeerState.REGISTERED:
            return {}
        answer = await self._registering.ask(
            server_id, lambda: self._send(server_id, Kind.REGISTER, {}), timeout_s
        )
        if not answer.get("accepted"):
            raise RegistrationError(f"{server_id} refused {self.node_id}: {answer.get('reason')}")
        introduced = answer.get("introduction")
        return introduced if isinstance(introduced, dict) else {}

    async def unregister(self, server_id: str, timeout_s: float = 5.0) -> None:
        """Tell a server that this client leaves and wait until it knows; one that is gone is not told."""
        peer = self.monitor.peers.get(server_id)
        if peer is None or peer.state is not PeerState.REGISTERED:
            return
        self.monitor.registered(server_id, yes=False)
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(server_id, Kind.UNREGISTER, {}).delivered
        except (TransportError, TimeoutError) as error:
            log.info("%s could not say goodbye to %s: %s", self.node_id, server_id, error)

    def start_heartbeat(self, interval_s: float) -> None:
        """Send a heartbeat to every connected peer each ``interval_s`` seconds."""
        self._heartbeat.start(interval_s)

    async def query_status(self, peer_id: str, timeout_s: float = 10.0) -> dict[str, object]:
        """Return what :meth:`get_status` says on the other side.

        Raises:
            RegistrationError: It is gone, or did not answer in time.
        """
        return await self._asking.ask(peer_id, lambda: self._send(peer_id, Kind.STATUS_QUERY, {}), timeout_s)

    def get_status(self) -> dict[str, Any]:
        """Return id, role, registered clients, and per peer its state, epoch, silence (s) and reason."""
        now_ns = self._clock.now_ns()
        return {
            "node_id": self.node_id,
            "role": self.role,
            "registered": list(self.admissions.ids()),
            "peers": {
                peer_id: {
                    "state": peer.state.value,
                    "epoch": peer.epoch,
                    "silent_s": (now_ns - peer.last_seen_ns) / 1e9,
                    "reason": peer.reason,
                }
                for peer_id, peer in self.monitor.peers.items()
            },
        }

    def closing(self) -> None:
        """This node is about to close its connections: losing its peers is no news from here on."""
        self._closing = True

    def close(self) -> None:
        """Stop the heartbeat; idempotent."""
        self._heartbeat.stop()
        self._throttle.close()

    # Control messages ----------------------------------------------------------------------------------

    def _on_register(self, message: Message) -> None:
        client_id, epoch = message.source, self.monitor.peers[message.source].epoch
        if self.role != "server":
            reason = f"{self.node_id} is no server"
            self._send(client_id, Kind.REGISTERED, {"accepted": False, "reason": reason})
            return
        try:
            introduction = self.introduce(client_id)
            self.admissions.admit(client_id, epoch)
        except RegistrationError as error:
            self._throttle.warning(
                ("refused", client_id), "%s refused %s: %s", self.node_id, client_id, error
            )
            self._send(client_id, Kind.REGISTERED, {"accepted": False, "reason": str(error)})
            return
        self.monitor.registered(client_id, yes=True)
        log.info("%s registered %s (epoch %d)", self.node_id, client_id, epoch)
        self._send(client_id, Kind.REGISTERED, {"accepted": True, "introduction": introduction})

    def _on_registered(self, message: Message) -> None:
        if self.role == "server":
            raise RemoteProtocolError(f"{message.source} answered a registration that no server asks for")
        if message.body.get("accepted"):
            self.monitor.registered(message.source, yes=True)
        self._registering.answer(message.source, message.body)

    def _on_unregister(self, message: Message) -> None:
        if self.admissions.remove(message.source):
            self.monitor.registered(message.source, yes=False)
            log.info("%s unregistered %s", self.node_id, message.source)

    def _on_status_query(self, message: Message) -> None:
        self._send(message.source, Kind.STATUS, self.get_status())

    def _on_status(self, message: Message) -> None:
        self._asking.answer(message.source, message.body)

    def _beat(self) -> None:
        for peer_id, peer in list(self.monitor.peers.items()):
            if peer.state in (PeerState.CONNECTED, PeerState.REGISTERED):
                try:
                    self._send(peer_id, Kind.HEARTBEAT, {})
                except (TransportError, LocalProtocolError) as error:
                    log.info("%s could not send a heartbeat to %s: %s", self.node_id, peer_id, error)
