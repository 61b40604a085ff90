"""How the conformance suite makes nodes: a backend says how they are made and killed, all else is shared.

A backend that lacks a trait skips the tests that need it, by name; no assertion is looser for anyone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from fedbench.messages import Kind, Message
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.connection import Connection
from tests.pace import limit_s

SERVER = "memory_server"
CLIENT = "memory_client_1"
OTHER = "memory_client_2"
WAIT_S = 10.0
DTYPES = ["?", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"]


@dataclass
class Pair:
    """A server and a client, connected.

    Attributes:
        server: The server's transport.
        client: The client's transport.
        near: The client's end of the connection.
        far: The server's end.
    """

    server: TransportBase
    client: TransportBase
    near: Connection
    far: Connection

    def balanced(self) -> bool:
        return self.near.ledger.balanced() and self.far.ledger.balanced()


@dataclass
class Backend:
    """How one scheme makes nodes.

    Attributes:
        scheme: Its name.
        make: ``make(node_id, limits, role)`` returns a transport; those of one backend reach each other.
        kill: Ends the node of a connection as a crash would.
        traits: What it can do beyond the common contract: ``shared`` (one transport serves several nodes),
            ``joint`` (both ends of a connection end at the same instant).
        dials: Whether a server opens connections by itself, to clients that have opened none.
    """

    scheme: str
    make: Callable[..., TransportBase]
    kill: Callable[[Connection], None]
    traits: frozenset[str] = frozenset()
    dials: bool = True
    made: list[TransportBase] = field(default_factory=list)

    def need(self, trait: str) -> None:
        if trait not in self.traits:
            pytest.skip(f"{self.scheme} has no trait {trait!r}")

    async def node(
        self, node_id: str, limits: Limits | None = None, role: str | None = None
    ) -> TransportBase:
        transport = self.make(node_id, limits=limits, role=role)
        self.made.append(transport)
        await transport.start_event_listener()
        return transport

    async def client(self, node_id: str, limits: Limits | None = None) -> TransportBase:
        """A client that the server can reach."""
        transport = await self.node(node_id, limits)
        if not self.dials:
            await transport.connect(SERVER)
        return transport

    async def make_pair(self, limits: Limits | None = None) -> Pair:
        server, client = await self.node(SERVER, limits), await self.node(CLIENT, limits)
        accepted: list[Connection] = []
        server.on_connection(SERVER, accepted.append)
        near = await client.connect(SERVER)
        return Pair(server, client, near, accepted[0])

    async def make_clogged_pair(self) -> Pair:
        """A pair of which the server has two messages that nobody receives, and room for no more."""
        pair = await self.make_pair(Limits(messages=2))
        for number in (1, 2):
            await within((await pair.client.send(CLIENT, SERVER, number)).delivered)
        return pair

    @contextlib.asynccontextmanager
    async def closing(self) -> AsyncIterator[Backend]:
        try:
            yield self
        finally:
            for transport in self.made:
                await transport.close()
            self.made.clear()  # and with it the models that their handlers have kept


async def within(awaitable):
    """Wait for something that must come."""
    async with asyncio.timeout(limit_s(WAIT_S)):
        return await awaitable


async def settle() -> None:
    """Let everything run that can run by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


def notify(method: str, body=None, kind: Kind = Kind.CLIENT_NOTIFY, source=CLIENT, target=SERVER) -> Message:
    return Message(kind, source, target, method, body)


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
