"""The nodes of a federation under the push architecture: the server's side, and clients in the same loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.connection.communication import CommunicationManager
from fedbench.errors import RegistrationError
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.proxy import LearnerProxy
from fedbench.rpc.stub import MODEL_EVENT, LearnerStub
from fedbench.transport.memory import Hub, MemoryConnection, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fedbench.config import FederationConfig
    from fedbench.learning.dispatch import LearnerDispatcher
    from fedbench.tensors.model import ModelState
    from fedbench.transport.base import TransportBase


class PushServer:
    """The server's side of a federation, however its clients are joined.

    Args:
        config: The federation.
        transport: The server's transport.
        on_subscribed: Called with the id of a client that has subscribed to the global model.

    Attributes:
        comm: The server's communication.
        global_model: What the server answers calls with.
        stub: What answers them.
    """

    def __init__(
        self,
        config: FederationConfig,
        transport: TransportBase,
        on_subscribed: Callable[[str], None] | None = None,
    ) -> None:
        self.server_id = config.server.server_id
        self.comm = CommunicationManager(self.server_id, transport, role="server")
        self.comm.control.introduce = self._introduce
        self._seed = config.seed
        self.global_model = GlobalModel()
        self.stub = LearnerStub(self.comm, self.global_model, on_subscribed=on_subscribed)
        self._proxies = {
            client.client_id: LearnerProxy(self.comm, client.client_id, index)
            for index, client in enumerate(config.clients)
        }

    def _introduce(self, client_id: str) -> dict[str, int]:
        """Return who a client is; refuse one that the configuration does not name."""
        proxy = self._proxies.get(client_id)
        if proxy is None:
            raise RegistrationError(f"{client_id} is no client of this federation")
        return {"index": proxy.index, "count": len(self._proxies), "seed": self._seed}

    def learners(self) -> list[LearnerProxy]:
        """Return the registered clients in the order of the configuration."""
        registered = set(self.comm.control.admissions)
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
        return await self.stub.broadcast_model(model, deadline_s=deadline_s)

    def publish(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> Awaitable[dict[str, Exception | None]]:
        """Make ``model`` the global one and hand it to every subscriber, waking each as seldom as possible.

        A client that is called with the model before the result is awaited gets it by that call, the others
        by a push, as :meth:`broadcast` does.

        Returns:
            When awaited, as :meth:`broadcast`, of those that it was pushed to.
        """
        self.hold(model)
        subscribers = self.stub.subscribers.get(MODEL_EVENT, {})
        learners = [learner for learner in self.learners() if learner.client_id in subscribers]
        for learner in learners:
            learner.owe(model)
        return self._push_rest(learners, model, deadline_s)

    async def _push_rest(
        self, learners: Sequence[LearnerProxy], model: ModelState, deadline_s: float | None
    ) -> dict[str, Exception | None]:
        called = {learner.client_id for learner in learners if not learner.take_owed(model)}
        return await self.stub.broadcast_model(model, deadline_s=deadline_s, leave_out=called)

    async def close(self) -> None:
        """End what runs, close every connection and the transport; idempotent."""
        await self.stub.close()
        await self.comm.close()
        RpcEndpoint.of(self.comm).close()


def client_node(client_id: str, transport: TransportBase) -> CommunicationManager:
    """Return the communication of a client."""
    return CommunicationManager(client_id, transport, role="client")


class PushClient:
    """A client's side of a federation, however it is joined.

    Args:
        comm: The client's communication, as :func:`client_node` makes it.
        dispatcher: Its learner.

    Attributes:
        comm: As given.
    """

    def __init__(self, comm: CommunicationManager, dispatcher: LearnerDispatcher) -> None:
        self.comm = comm
        self._dispatcher = dispatcher
        self._stub = LearnerStub(self.comm, dispatcher)

    async def start(self, server_id: str) -> None:
        """Register at the server and subscribe to the global model."""
        await self.comm.start()
        await self.comm.register_client(server_id)
        await RpcEndpoint.of(self.comm).call(server_id, "subscribe", MODEL_EVENT)
        self._dispatcher.learner.server_notifier = LearnerProxy(self.comm, server_id).notify

    async def stop(self) -> None:
        """Unregister, close the node and wait until the learner has ended; idempotent."""
        await self._stub.close()
        await self.comm.close()
        RpcEndpoint.of(self.comm).close()
        await self._dispatcher.close()


class PushNodes:
    """A server and its clients in one event loop, joined by a hub of their own.

    Args:
        config: The federation.
        dispatchers: One learner for each client, in the order of the configuration.

    Attributes:
        side: The server's side.
        clients: Each client, by id, in the order of the configuration.
    """

    def __init__(self, config: FederationConfig, dispatchers: Sequence[LearnerDispatcher]) -> None:
        hub = Hub()
        server_id = config.server.server_id
        self.side = PushServer(config, MemoryTransport(server_id, hub, role="server"))
        self.learners, self.hold = self.side.learners, self.side.hold
        self.broadcast, self.publish = self.side.broadcast, self.side.publish
        self.on_notify = self.side.global_model.on_notify
        self.clients: dict[str, PushClient] = {}
        for client, dispatcher in zip(config.clients, dispatchers, strict=True):
            transport = MemoryTransport(client.client_id, hub, role="client")
            comm = client_node(client.client_id, transport)
            self.clients[client.client_id] = PushClient(comm, dispatcher)

    async def start(self) -> None:
        """Start the server, register every client and subscribe it to the global model."""
        await self.side.comm.start()
        for client in self.clients.values():
            await client.start(self.side.server_id)

    async def stop(self) -> None:
        """Unregister the clients, close every node and wait until the learners have ended; idempotent."""
        for client in self.clients.values():
            await client.stop()
        await self.side.close()

    def lose(self, client_id: str) -> None:
        """End a client's connection as a crash would: the server is told :class:`PeerLost`.

        Raises:
            KeyError: There is no such client, or it is not connected.
        """
        link = self.clients[client_id].comm.connections.pool.find(self.side.server_id)
        if link is None:
            raise KeyError(client_id)
        assert isinstance(link.connection, MemoryConnection)
        link.connection.abort()
