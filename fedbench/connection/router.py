"""Finds the way of a message out of a node, and counts what took it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fedbench.errors import RoutingError
from fedbench.messages import Channel, Kind, Message

if TYPE_CHECKING:
    from fedbench.connection.pool import ConnectionPool, Link
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
        self._pool = pool
        self._counts: dict[tuple[str, str, Kind], int] = {}

    def send(self, message: Message) -> Receipt:
        """Send ``message`` to its target on the lane of its kind.

        Raises:
            RoutingError: The source is not this node, or there is no connection to the target.
            TransportError: As for :meth:`Connection.send`.
        """
        if message.source != self._node_id:
            raise self._refuse(message, f"only {self._node_id!r} sends from here")
        link = self._pool.find(message.target)
        if link is None:
            raise self._refuse(message, "there is no connection to it: register or connect first")
        lane = link.business if message.kind.channel is Channel.BUSINESS else link.control
        receipt = lane.send(message)
        self._count(message)
        return receipt

    def received(self, link: Link, message: Message) -> None:
        """Check and count an inbound message.

        Raises:
            RemoteProtocolError: It is out of sequence.
        """
        (link.business if message.kind.channel is Channel.BUSINESS else link.control).accept(message)
        self._count(message)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many messages took each route, as ``{"source->target": {kind: count}}``."""
        routes: dict[str, dict[str, int]] = {}
        for (source, target, kind), count in sorted(self._counts.items(), key=lambda item: item[0][:2]):
            routes.setdefault(f"{source}->{target}", {})[kind.value] = count
        return routes

    def _count(self, message: Message) -> None:
        key = (message.source, message.target, message.kind)
        self._counts[key] = self._counts.get(key, 0) + 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s -> %s #%d", message.kind.value, message.source, message.target, message.seq)

    def _refuse(self, message: Message, reason: str) -> RoutingError:
        log.warning(
            "refused %s from %s to %s: %s", message.kind.value, message.source, message.target, reason
        )
        return RoutingError(message.source, message.target, reason)
