"""Finds the way of a message out of a node, and counts what took it."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from fedbench.connection.pool import Link
from fedbench.errors import RoutingError
from fedbench.messages import BUSINESS, Kind, Message

if TYPE_CHECKING:
    from fedbench.connection.pool import ConnectionPool
    from fedbench.transport.connection import Connection
    from fedbench.transport.receipt import Receipt

log = logging.getLogger("fedbench.connection")


class Router:
    """Routes one node's messages over its connections.

    Args:
        node_id: The node, the only permitted source.
        pool: Its connections.
    """

    def __init__(self, node_id: str, pool: ConnectionPool) -> None:
        self._node_id = node_id
        self._find = pool.find
        self._sent: dict[str, defaultdict[Kind, int]] = defaultdict(lambda: defaultdict(int))
        self._received: dict[str, defaultdict[Kind, int]] = defaultdict(lambda: defaultdict(int))

    def link(self, connection: Connection) -> Link:
        """Return a link over ``connection`` that goes on with the counts of its peer."""
        peer_id = connection.peer_id
        link = Link(connection, self._sent[peer_id], self._received[peer_id])
        link.traced = log.isEnabledFor(logging.DEBUG)
        return link

    def send(self, message: Message) -> Receipt:
        """Send ``message`` to its target on the lane of its kind; a lossless medium needs no lanes.

        Raises:
            RoutingError: The source is not this node, or there is no connection to the target.
            TransportError: As for :meth:`Connection.send`.
        """
        if message.source != self._node_id:
            raise self._refuse(message, f"only {self._node_id!r} sends from here")
        target, kind = message.target, message.kind
        link = self._find(target)
        if link is None:
            raise self._refuse(message, "there is no connection to it: register or connect first")
        if link.lossless:
            receipt = link.connection.send(message)
        else:
            receipt = (link.business if kind.channel is BUSINESS else link.control).send(message)
        link.sent[kind] += 1
        if link.traced:
            log.debug("%s %s -> %s #%d", kind.value, message.source, target, message.seq)
        return receipt

    def received(self, link: Link, message: Message) -> None:
        """Check and count an inbound message; one sent by the transport's own verbs has no number.

        Raises:
            RemoteProtocolError: It is out of sequence.
        """
        kind = message.kind
        if message.seq:
            (link.business if kind.channel is BUSINESS else link.control).accept(message)
        link.received[kind] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many messages took each route, as ``{"source->target": {kind: count}}``."""
        routes = {f"{self._node_id}->{peer_id}": counts for peer_id, counts in self._sent.items()}
        routes |= {f"{peer_id}->{self._node_id}": counts for peer_id, counts in self._received.items()}
        return {
            route: {kind.value: count for kind, count in routes[route].items()}
            for route in sorted(routes)
            if routes[route]
        }

    def _refuse(self, message: Message, reason: str) -> RoutingError:
        log.warning(
            "refused %s from %s to %s: %s", message.kind.value, message.source, message.target, reason
        )
        return RoutingError(message.source, message.target, reason)
