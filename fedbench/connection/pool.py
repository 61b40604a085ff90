"""The live connections of a node, by peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.connection.channel import BusinessChannel, ControlChannel

if TYPE_CHECKING:
    from collections import defaultdict
    from collections.abc import Iterator

    from fedbench.messages import Kind

    Counts = defaultdict[Kind, int]
    from fedbench.transport.connection import Connection


class Link:
    """A connection and its two lanes.

    Attributes:
        connection: The pipe.
        lossless: Whether the pipe cannot lose or repeat anything while both ends live.
        business: Its business lane.
        control: Its control lane.
        traced: Whether each message that goes out is logged; asked once, for it is on the way of all.
        sent: How many messages of each kind went out to this peer, over all connections to it.
        received: How many came in.
    """

    __slots__ = ("business", "connection", "control", "lossless", "received", "sent", "traced")

    def __init__(
        self, connection: Connection, sent: defaultdict[Kind, int], received: defaultdict[Kind, int]
    ) -> None:
        self.connection = connection
        self.lossless = connection.lossless
        self.traced = False
        self.sent = sent
        self.received = received
        self.business = BusinessChannel(connection)
        self.control = ControlChannel(connection)


class ConnectionPool:
    """One link a peer; a newer link takes the place of an older one."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self.find = self._links.get
        """Return the link of a peer, None if there is none."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def add(self, link: Link) -> None:
        """Hold ``link`` for its peer."""
        self._links[link.connection.peer_id] = link

    def remove(self, connection: Connection) -> bool:
        """Let go of a connection; False if another has taken its place."""
        link = self._links.get(connection.peer_id)
        if link is None or link.connection is not connection:
            return False
        del self._links[connection.peer_id]
        return True

    def close(self) -> None:
        """Close every connection."""
        for link in list(self._links.values()):
            link.connection.close()
