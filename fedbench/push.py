"""The nodes of a federation under the push architecture, in one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.connection.communication import CommunicationManager
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.proxy import LearnerProxy
from fedbench.rpc.stub import MODEL_EVENT, LearnerStub
from fedbench.transport.memory import Hub, MemoryConnection, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench.config import FederationConfig
    from fedbench.learning.dispatch import LearnerDispatcher
    from fedbench.tensors.model import ModelState


class PushNodes:
    """A server and its clients, joined by a hub of their own.

    Args:
        config: The federation.
        dispatchers: One learner for each client, in the order of the configuration.

    Attributes:
        server: The server's communication.
        clients: Each client's communication, by id, in the order of the configuration.
        global_model: What the server answers calls with.
    """

    def __init__(self, config: FederationConfig, dispatchers: Sequence[LearnerDispatcher]) -> None:
        hub = Hub()
        self.server_id = config.server.server_id
        transport = MemoryTransport(self.server_id, hub, role="server")
        self.server = CommunicationManager(self.server_id, transport, role="server")
        self.global_model = GlobalModel()
        self._server_stub = LearnerStub(self.server, self.global_model)
        self.clients: dict[str, CommunicationManager] = {}
        self._stubs: dict[str, LearnerStub] = {}
        self._dispatchers = list(dispatchers)
        for client, dispatcher in zip(config.clients, dispatchers, strict=True):
            client_id = client.client_id
            comm = CommunicationManager(
                client_id, MemoryTransport(client_id, hub, role="client"), role="client"
            )
            self.clients[client_id] = comm
            self._stubs[client_id] = LearnerStub(comm, dispatcher)
        self._proxies = {
            client_id: LearnerProxy(self.server, client_id, index)
            for index, client_id in enumerate(self.clients)
        }

    async def start(self) -> None:
        """Start the server, register every client and subscribe it to the global model."""
        await self.server.start()
        for comm in self.clients.values():
            await comm.start()
            await comm.register_client(self.server_id)
            await RpcEndpoint.of(comm).call(self.server_id, "subscribe", MODEL_EVENT)

    async def stop(self) -> None:
        """Unregister the clients, close every node and wait until the learners have ended; idempotent."""
        for client_id, comm in self.clients.items():
            await self._stubs[client_id].close()
            await comm.close()
            RpcEndpoint.of(comm).close()
        await self._server_stub.close()
        await self.server.close()
        RpcEndpoint.of(self.server).close()
        for dispatcher in self._dispatchers:
            await dispatcher.close()

    def learners(self) -> list[LearnerProxy]:
        """Return the registered clients in the order of the configuration."""
        registered = self.server.control.admissions
        return [proxy for client_id, proxy in self._proxies.items() if client_id in registered]

    def hold(self, model: ModelState) -> None:
        """Make ``model`` the global one: the server answers ``get_model`` with it."""
        self.global_model.model = model

    async def broadcast(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> dict[str, Exception | None]:
        """Make ``model`` the global one, push it to every subscriber and wait until each has applied it.

        Returns:
            Client id to None, or to why it did not apply the model.
        """
        self.hold(model)
        return await self._server_stub.broadcast_model(model, deadline_s=deadline_s)

    def lose(self, client_id: str) -> None:
        """End a client's connection as a crash would: the server is told :class:`PeerLost`.

        Raises:
            KeyError: There is no such client, or it is not connected.
        """
        link = self.clients[client_id].connections.pool.find(self.server_id)
        if link is None:
            raise KeyError(client_id)
        assert isinstance(link.connection, MemoryConnection)
        link.connection.abort()
