import contextvars

import pytest

from fedbench.connection.manager import ConnectionManager
from fedbench.errors import ConnectionBroken, LocalProtocolError, PeerLost, RemoteError, RoutingError
from fedbench.messages import Kind, Message
from tests.fakes.connection import FakeHub, FakeTransport

A, B = "memory_client_1", "memory_server"


class Listener:
    """Records what layer 4 would be told."""

    def __init__(self):
        self.told = []

    def connected(self, peer_id, epoch):
        self.told.append(("connected", peer_id, epoch))

    def disconnected(self, peer_id, reason):
        self.told.append(("disconnected", peer_id, type(reason)))

    def handle(self, message):
        self.told.append((message.kind, message.source))


def manager(node_id, hub, transport=None):
    transport = transport or FakeTransport(node_id, hub)
    return ConnectionManager(node_id, transport, Listener(), contextvars.copy_context())


@pytest.fixture
async def two():
    hub = FakeHub()
    client, server = manager(A, hub), manager(B, hub)
    await server.listen()
    await client.connect(B)
    yield client, server
    await client.close()
    await client.close()
    await server.close()


def message(kind=Kind.CLIENT_NOTIFY, source=A, target=B, method="event"):
    return Message(kind, source, target, method)


async def test_both_ends_hear_of_the_connection_and_of_its_end(two):
    client, server = two
    await client.connect(B)
    await client.disconnect(B)
    await client.disconnect(B)
    assert [name for name, *_ in client._listener.told] == ["connected", "disconnected"]
    assert server._listener.told == [("connected", A, 1), ("disconnected", A, ConnectionBroken)]
    await client.connect(B)
    assert server._listener.told[-1] == ("connected", A, 2)
    assert len(server.pool) == 1


async def test_a_lost_peer_is_told_as_such(two):
    client, server = two
    client.pool.find(B).connection.abort()
    assert server._listener.told[-1] == ("disconnected", A, PeerLost)
    with pytest.raises(RoutingError):
        server.router.send(message(source=B, target=A))


async def test_control_goes_to_the_listener_and_the_rest_to_handlers_or_the_transport(two):
    client, server = two
    seen = []
    server._transport.register_event_handler("event", lambda source, data: seen.append("transport"))
    await client.router.send(message(Kind.HEARTBEAT)).applied
    await client.router.send(message()).applied
    remove = server.register(Kind.CLIENT_NOTIFY, lambda inbound: seen.append("handler"))
    await client.router.send(message()).applied
    remove()
    remove()
    await client.router.send(message()).applied
    assert server._listener.told[-1] == (Kind.HEARTBEAT, A)
    assert seen == ["transport", "handler", "transport"]


async def test_a_kind_has_one_owner(two):
    client, server = two
    seen = []
    server.own(Kind.RPC_REQUEST, seen.append)
    server.register(Kind.RPC_REQUEST, lambda inbound: seen.append("handler"))
    assert server.owner(Kind.RPC_REQUEST) == seen.append
    assert server.owner(Kind.DATA) is None
    with pytest.raises(
        LocalProtocolError, match="rpc_request messages of memory_server have an owner already"
    ):
        server.own(Kind.RPC_REQUEST, print)
    sent = message(Kind.RPC_REQUEST)
    await client.router.send(sent).applied
    assert [inbound.seq for inbound in seen] == [1]


async def test_a_handler_that_removes_itself_does_not_hide_the_next(two):
    client, server = two
    seen = []

    def once(inbound):
        seen.append("once")
        remove()

    remove = server.register(Kind.CLIENT_NOTIFY, once)
    server.register(Kind.CLIENT_NOTIFY, lambda inbound: seen.append("always"))
    await client.router.send(message()).applied
    await client.router.send(message()).applied
    assert seen == ["once", "always", "always"]


async def test_what_comes_out_of_sequence_is_refused(two, caplog):
    client, server = two
    seen = []
    server.register(Kind.CLIENT_NOTIFY, seen.append)
    forged = Message(Kind.CLIENT_NOTIFY, A, B, seq=5)
    with pytest.raises(RemoteError, match="RemoteProtocolError"):
        await client.pool.find(B).connection.send(forged).applied
    assert seen == []
    assert len(caplog.records) == 1


async def test_the_verbs_of_the_transport_work_beside(two):
    client, server = two
    await client._transport.send(A, B, "data")
    assert await server._transport.receive(B, A, 5) == "data"
    await client.router.send(message()).applied


async def test_a_node_that_is_greeted_with_a_message_gets_it():
    hub = FakeHub()
    client, server = manager(A, hub), manager(B, hub)
    await server.listen()
    seen = []
    client.register(Kind.CLIENT_NOTIFY, lambda inbound: seen.append(inbound.method))
    server._listener.connected = lambda peer_id, epoch: server.router.send(
        message(source=B, target=A, method="welcome")
    )
    await client.connect(B)
    await client.router.send(message()).applied
    assert seen == ["welcome"]
    await client.close()
    await server.close()


async def test_a_connection_that_ends_as_it_opens_is_heard_in_order():
    hub = FakeHub()
    client, server = manager(A, hub), manager(B, hub)
    await server.listen()
    server._listener.connected = lambda peer_id, epoch: server.pool.find(peer_id).connection.close()
    await client.connect(B)
    assert [name for name, *_ in client._listener.told] == ["connected", "disconnected"]
    assert server._listener.told == [("disconnected", A, server._listener.told[0][2])]
    assert len(client.pool) == len(server.pool) == 0
    await client.close()
    await server.close()


async def test_a_shared_transport_knows_the_role_it_is_told():
    hub = FakeHub()
    transport = FakeTransport(B, hub)
    named = manager("alice", hub, transport)
    await named.listen("client")
    assert transport.role_of("alice") == "client"
    await named.close()
