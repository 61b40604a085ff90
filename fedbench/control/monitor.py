"""Monitor: the state of every peer, as a table, and who wants to hear of its changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fedbench.errors import LocalProtocolError, PeerLost

log = logging.getLogger("fedbench.control")


class PeerState(Enum):
    """What is known of a peer."""

    UNKNOWN = "unknown"
    CONNECTED = "connected"
    REGISTERED = "registered"
    DISCONNECTED = "disconnected"


class PeerEvent(Enum):
    """What can happen to a peer."""

    CONNECT = "connect"
    REGISTER = "register"
    UNREGISTER = "unregister"
    DISCONNECT = "disconnect"


_NEXT: dict[tuple[PeerState, PeerEvent], PeerState] = {
    (PeerState.UNKNOWN, PeerEvent.CONNECT): PeerState.CONNECTED,
    (PeerState.DISCONNECTED, PeerEvent.CONNECT): PeerState.CONNECTED,
    (PeerState.CONNECTED, PeerEvent.CONNECT): PeerState.CONNECTED,
    (PeerState.REGISTERED, PeerEvent.CONNECT): PeerState.CONNECTED,
    (PeerState.CONNECTED, PeerEvent.REGISTER): PeerState.REGISTERED,
    (PeerState.REGISTERED, PeerEvent.REGISTER): PeerState.REGISTERED,
    (PeerState.REGISTERED, PeerEvent.UNREGISTER): PeerState.CONNECTED,
    (PeerState.CONNECTED, PeerEvent.DISCONNECT): PeerState.DISCONNECTED,
    (PeerState.REGISTERED, PeerEvent.DISCONNECT): PeerState.DISCONNECTED,
}


def step(state: PeerState, event: PeerEvent) -> PeerState:
    """Return the state after ``event``.

    Raises:
        LocalProtocolError: The event cannot happen in that state; nothing has changed.
    """
    try:
        return _NEXT[state, event]
    except KeyError:
        raise LocalProtocolError(f"a peer that is {state.value} cannot {event.value}") from None


@dataclass(slots=True)
class Peer:
    """What a node knows of a peer.

    Attributes:
        state: Its state.
        epoch: Epoch of its last connection.
        last_seen_ns: Monotonic time of its last sign of life.
        reason: Why it was disconnected, without its name if it was lost; empty while it is not.
        error: The same as the error it was: :class:`ConnectionClosed` if this node closed the connection.
    """

    state: PeerState = PeerState.UNKNOWN
    epoch: int = 0
    last_seen_ns: int = 0
    reason: str = ""
    error: Exception | None = None


PeerCallback = Callable[[str], None]


class Monitor:
    """The peers of a node. Callbacks run in order, with the peer's id, after the state has changed."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self._callbacks: dict[str, list[PeerCallback]] = {"connect": [], "disconnect": [], "reconnect": []}

    def on_connect(self, callback: PeerCallback) -> None:
        """Call ``callback(peer_id)`` when a peer connects for the first time."""
        self._callbacks["connect"].append(callback)

    def on_disconnect(self, callback: PeerCallback) -> None:
        """Call ``callback(peer_id)`` when a peer's connection is over, for whatever reason."""
        self._callbacks["disconnect"].append(callback)

    def on_reconnect(self, callback: PeerCallback) -> None:
        """Call ``callback(peer_id)`` when a peer connects again."""
        self._callbacks["reconnect"].append(callback)

    def connected(self, peer_id: str, epoch: int, now_ns: int) -> None:
        """A connection is up."""
        known = peer_id in self.peers
        peer = self.peers.setdefault(peer_id, Peer())
        peer.state = step(peer.state, PeerEvent.CONNECT)
        peer.epoch, peer.last_seen_ns, peer.reason, peer.error = epoch, now_ns, "", None
        self._tell("reconnect" if known else "connect", peer_id)

    def disconnected(self, peer_id: str, error: Exception) -> None:
        """The connection is over."""
        peer = self.peers[peer_id]
        peer.state = step(peer.state, PeerEvent.DISCONNECT)
        peer.reason = error.reason if isinstance(error, PeerLost) else str(error)
        peer.error = error
        self._tell("disconnect", peer_id)

    def registered(self, peer_id: str, *, yes: bool) -> None:
        """The peer was admitted, or has left in order.

        Raises:
            LocalProtocolError: The peer is not connected, or leaves without being registered.
        """
        peer = self.peers.get(peer_id, Peer())
        peer.state = step(peer.state, PeerEvent.REGISTER if yes else PeerEvent.UNREGISTER)

    def seen(self, peer_id: str, now_ns: int) -> None:
        """The peer gave a sign of life."""
        peer = self.peers.get(peer_id)
        if peer is not None:
            peer.last_seen_ns = now_ns

    def _tell(self, event: str, peer_id: str) -> None:
        for callback in self._callbacks[event]:
            try:
                callback(peer_id)
            except Exception:
                log.exception("an on_%s callback raised for %s", event, peer_id)
