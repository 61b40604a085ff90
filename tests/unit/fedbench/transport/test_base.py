"""What no backend can change; the verbs are tested over every backend by the conformance suite."""

import asyncio

import pytest

from fedbench.errors import ConnectionBroken, ConnectionClosed, LocalProtocolError, RoutingError
from fedbench.messages import Kind
from fedbench.transport import base
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.connection import Connection
from fedbench.transport.memory import Hub, MemoryTransport
from tests.fakes.connection import FakeHub, FakeTransport
from tests.pace import limit_s

A, B = "memory_client_1", "memory_server"


async def nodes(limits=None):
    hub = FakeHub()
    made = [FakeTransport(node_id, hub, limits=limits) for node_id in (A, B)]
    for transport in made:
        await transport.start_event_listener()
    return made


def test_a_backend_has_little_to_implement():
    assert len(TransportBase.__abstractmethods__) + len(Connection.__abstractmethods__) <= 8


def test_names_are_checked():
    with pytest.raises(ValueError, match="cannot name a node"):
        FakeTransport("no name", FakeHub())


async def test_a_role_given_later_counts_and_listening_is_idempotent():
    transport = FakeTransport("alice", FakeHub())
    await transport.start_event_listener()
    assert transport.role_of("alice") is None
    await transport.start_event_listener("alice", role="client")
    assert transport.role_of("alice") == "client"
    await transport.start_event_listener("alice", role="server")
    assert transport.role_of("alice") == "client"
    await transport.close()


async def test_a_node_that_closed_cannot_be_reached_and_reaches_nobody():
    client, server = await nodes()
    await client.connect(B)
    await client.close()
    assert isinstance((await server.broadcast(B, [A], 1))[A].error, RoutingError)
    assert isinstance((await client.broadcast(A, [B], 1))[B].error, ConnectionClosed)
    await server.close()


async def test_one_message_of_a_kind_needs_a_model():
    client, server = await nodes()
    with pytest.raises(LocalProtocolError, match="push takes a ModelState, not a int"):
        await client.push(A, [B], 3)
    await client.close()
    await server.close()


async def test_on_connection_is_told_before_anything_arrives_and_the_last_callback_counts():
    client, server = await nodes()
    seen = []
    server.on_connection(B, lambda connection: seen.append("first"))
    server.on_connection(B, lambda connection: seen.append(connection.peer_id))
    server.subscribe(lambda message: seen.append(message.kind))
    receipt = await client.push_event(A, B, "event", None)
    await receipt.applied
    assert seen == [A, Kind.CLIENT_NOTIFY]
    await client.close()
    await server.close()


async def test_a_layer_above_may_claim_a_connection():
    client, server = await nodes()
    claimed = []
    server.on_connection(
        B,
        lambda connection: setattr(
            connection, "receiver", lambda message, delivery: claimed.append(message.body)
        ),
    )
    await (await client.send(A, B, "mine")).delivered
    assert claimed == ["mine"]
    with pytest.raises(TimeoutError):
        await server.receive(B, A, 0)
    await client.close()
    await server.close()


async def test_disconnecting_from_a_stranger_is_nothing():
    client, server = await nodes()
    await client.disconnect("memory_client_9")
    with pytest.raises(RoutingError):
        await client.connect("memory_client_9")
    assert client.refused == {f"{A}->memory_client_9": 1}
    await client.close()
    await server.close()


async def test_a_receiver_is_not_disturbed_by_a_connection_that_takes_the_place_of_another():
    client, server = await nodes(Limits(messages=1))
    newer = FakeTransport(A, client._hub)
    await client.connect(B)
    receiving = asyncio.create_task(server.receive(B, A))
    await asyncio.sleep(0)
    await newer.send(A, B, "from the newer")
    assert await asyncio.wait_for(receiving, limit_s(5)) == "from the newer"
    for transport in (client, newer, server):
        await transport.close()


async def test_what_is_kept_of_sources_that_are_gone_is_bounded(monkeypatch):
    monkeypatch.setattr(base, "_SPARE_INBOXES", 3)
    hub = Hub()
    server = MemoryTransport("memory_server", hub)
    await server.start_event_listener()
    receiving = asyncio.create_task(server.receive("memory_server", "memory_client_99"))
    await asyncio.sleep(0)
    for number in range(1, 20):
        client = MemoryTransport(f"memory_client_{number}", hub)
        await client.send(client.node_id, "memory_server", number)
        assert await server.receive("memory_server", client.node_id) == number
        await client.close()
        assert len(server._inboxes) <= 4
        with pytest.raises(ConnectionBroken):
            await server.receive("memory_server", client.node_id, 5)
    for number in range(20):
        with pytest.raises(TimeoutError):
            await server.receive("memory_server", f"stranger_{number}", 0)
    assert len(server._inboxes) <= 4
    late = MemoryTransport("memory_client_99", hub)
    await late.send("memory_client_99", "memory_server", "late")
    assert await asyncio.wait_for(receiving, limit_s(5)) == "late"
    await server.close()
    await late.close()
