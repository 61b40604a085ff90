"""Real nodes over memory for the tests of this layer: a server, clients, a hub of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from fedbench.connection.communication import CommunicationManager
from fedbench.errors import DeadlineExceeded
from fedbench.ids import current_node
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.stub import LearnerStub
from fedbench.tensors.model import ModelState
from fedbench.transport.memory import Hub, MemoryTransport

SERVER = "yaml_fed_server"


class Echo:
    """A target that records what arrives and answers with it; some methods do what their names say.

    Attributes:
        held: Set when a ``hold`` has begun; set it to make pushed models wait too.
        release: Set it to let them go on.
        refuse: Raised by a pushed model.
    """

    at_once: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.models: list[ModelState] = []
        self.events: list[tuple[str, Any]] = []
        self.held = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = 0
        self.refuse: Exception | None = None

    async def call(self, method: str, body: Any, tensors: ModelState | None) -> tuple[Any, ModelState | None]:
        self.nodes.append(current_node.get())
        if method == "raise":
            raise ZeroDivisionError("by zero")
        if method == "deadline":
            raise DeadlineExceeded("a call of its own")
        if method == "cancelled":
            raise asyncio.CancelledError
        if method == "object":
            return object(), None
        if method == "hold":
            self.held.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return body, tensors

    async def model_update(self, model: ModelState) -> bool:
        self.nodes.append(current_node.get())
        if self.refuse is not None:
            raise self.refuse
        self.models.append(model)
        if self.held.is_set():
            await self.release.wait()
        return True

    async def event(self, event_type: str, data: Any) -> None:
        self.nodes.append(current_node.get())
        self.events.append((event_type, data))


class Node:
    """A node with its endpoint and, if it answers, a stub."""

    def __init__(self, comm: CommunicationManager, target: Any, **stub: Any) -> None:
        self.comm = comm
        self.target = target
        self.endpoint = RpcEndpoint.of(comm)
        self.stub = LearnerStub(comm, target, **stub)

    async def close(self) -> None:
        await self.stub.close()
        await self.comm.close()
        self.endpoint.close()

    def abort(self) -> None:
        """End this client as a crash would."""
        link = self.comm.connections.pool.find(SERVER)
        assert link is not None
        link.connection.abort()  # type: ignore[attr-defined]


class World:
    """A hub and the nodes on it."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.nodes: list[Node] = []

    async def server(self, target: Any = None, **options: Any) -> Node:
        return await self._start(SERVER, "server", target, options)

    async def client(self, number: int = 1, target: Any = None, **options: Any) -> Node:
        node = await self._start(f"yaml_client_{number}", "client", target, options)
        await node.comm.register_client(SERVER)
        return node

    async def _start(self, node_id: str, role: Any, target: Any, options: dict[str, Any]) -> Node:
        clock = options.pop("clock", None)
        transport = MemoryTransport(node_id, self.hub, role=role)
        comm = CommunicationManager(node_id, transport, role=role)
        if clock is not None:
            RpcEndpoint(comm, clock)
        node = Node(comm, Echo() if target is None else target, **options)
        self.nodes.append(node)
        await comm.start()
        return node


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for node in reversed(made.nodes):
        await node.close()


@pytest.fixture
def model() -> Callable[[int], ModelState]:
    """A function that makes a small model of a version."""
    return lambda version: ModelState.from_arrays({"w": np.ones(3, np.float32)}, version)
