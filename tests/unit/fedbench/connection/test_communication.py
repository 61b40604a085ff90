import logging

import pytest

from fedbench.connection.communication import CommunicationManager
from fedbench.errors import ConnectionClosed, LocalProtocolError, PeerLost, RemoteError, RoutingError
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from fedbench.transport.memory import Hub, MemoryTransport
from tests.fakes.clock import FakeClock
from tests.fakes.connection import FakeHub, FakeTransport

A, B = "memory_client_1", "memory_server"


@pytest.fixture(params=["memory", "fake"])
async def two(request):
    memory, fake, clock = Hub(), FakeHub(), FakeClock()
    made = []
    for node_id, role in ((A, "client"), (B, "server")):
        transport = (
            MemoryTransport(node_id, memory) if request.param == "memory" else FakeTransport(node_id, fake)
        )
        made.append(CommunicationManager(node_id, transport, role=role, clock=clock))
        await made[-1].start()
    yield made
    for manager in made:
        await manager.close()
        await manager.close()


def message(kind=Kind.CLIENT_NOTIFY, source=A, target=B, body=None):
    return Message(kind, source, target, "event", body)


async def test_a_client_registers_and_leaves_and_both_are_news_once(two, caplog):
    client, server = two
    caplog.set_level(logging.INFO)
    await client.register_client(B)
    await client.register_client(B)
    assert server.control.admissions.ids() == (A,)
    assert server.get_connection_status()["registered"] == [A]
    await client.unregister_client()
    await client.unregister_client()
    assert server.control.admissions.ids() == ()
    news = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert news == [("INFO", f"{B} registered {A} (epoch 1)"), ("INFO", f"{B} unregistered {A}")]


async def test_a_lost_client_is_one_warning(two, caplog):
    client, server = two
    await client.register_client(B)
    client.connections.pool.find(B).connection.abort("killed")
    assert server.control.admissions.ids() == ()
    assert caplog.messages == [f"{B} lost client {A}: killed"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_lost_server_is_one_warning(two, caplog):
    client, server = two
    await client.register_client(B)
    server.connections.pool.find(A).connection.abort("killed")
    assert f"{A} lost its server {B}: killed" in caplog.messages
    assert len([record for record in caplog.records if record.message.startswith(A)]) == 1
    assert isinstance(client.control.monitor.peers[B].error, PeerLost)


async def test_closing_a_server_is_no_loss(two, caplog):
    client, server = two
    await client.register_client(B)
    await server.close()
    assert isinstance(server.control.monitor.peers[A].error, ConnectionClosed)
    assert caplog.records == []
    with pytest.raises(RoutingError):
        client.send_business_message(message())


async def test_a_client_that_comes_back_is_admitted_with_the_epoch_of_its_connection(two, caplog):
    client, server = two
    await client.register_client(B)
    await client.unregister_client()
    caplog.set_level(logging.INFO)
    await client.register_client(B)
    assert caplog.messages == [f"{B} registered {A} (epoch 2)"]
    assert server.control.monitor.peers[A].epoch == 2


async def test_a_lost_client_may_come_back(two):
    client, server = two
    seen = []
    for name in ("connect", "disconnect", "reconnect"):
        getattr(server.control.monitor, f"on_{name}")(lambda peer_id, name=name: seen.append((name, peer_id)))
    await client.register_client(B)
    client.connections.pool.find(B).connection.abort("killed")
    await client.register_client(B)
    assert seen == [("connect", A), ("disconnect", A), ("reconnect", A)]
    assert server.control.admissions.ids() == (A,)
    assert server.get_connection_status()["peers"][A]["epoch"] == 2


async def test_only_clients_register_and_only_where_there_is_a_server(two):
    client, server = two
    with pytest.raises(LocalProtocolError, match="clients register, servers admit them"):
        await server.register_client(A)
    with pytest.raises(RoutingError):
        await client.register_client("yaml_fed_server")


async def test_business_messages_reach_handlers_as_their_node(two):
    client, server = two
    await client.register_client(B)
    seen = []

    async def later(inbound):
        seen.append(("later", inbound.body, current_node.get()))

    stop = server.register_message_handler(
        Kind.CLIENT_NOTIFY, lambda inbound: seen.append(("plain", inbound.body, current_node.get()))
    )
    server.register_message_handler(Kind.CLIENT_NOTIFY, later)
    await client.send_business_message(message(body=1)).applied
    stop()
    await client.send_business_message(message(body=2)).applied
    assert seen == [("plain", 1, B), ("later", 1, B), ("later", 2, B)]


async def test_a_node_reached_again_from_its_own_handler_keeps_its_context(two):
    client, server = two
    await client.register_client(B)
    seen = []

    def ask_back(inbound):
        seen.append(("server", current_node.get()))
        server.send_business_message(message(Kind.MODEL_PUSH, B, A))
        seen.append(("server again", current_node.get()))

    server.register_message_handler(Kind.CLIENT_NOTIFY, ask_back)
    client.register_message_handler(
        Kind.MODEL_PUSH, lambda inbound: seen.append(("client", current_node.get()))
    )
    await client.send_business_message(message()).applied
    await server.send_business_message(message(Kind.MODEL_PUSH, B, A)).applied
    assert sorted(seen) == [("client", A), ("client", A), ("server", B), ("server again", B)]


async def test_control_kinds_are_not_for_handlers_or_business(two):
    _client, server = two
    with pytest.raises(
        LocalProtocolError, match="HEARTBEAT belongs to the control service: handle one of RPC_"
    ):
        server.register_message_handler(Kind.HEARTBEAT, print)


async def test_a_handler_that_raises_tells_the_sender(two, caplog):
    client, server = two
    await client.register_client(B)

    def fail(inbound):
        raise KeyError("k")

    server.register_message_handler(Kind.CLIENT_NOTIFY, fail)
    with pytest.raises(RemoteError, match="KeyError"):
        await client.send_business_message(message()).applied
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_status_shows_peers_ledgers_and_routes(two):
    client, _server = two
    await client.register_client(B)
    await client.send_business_message(message()).applied
    status = client.get_connection_status()
    assert (status["node_id"], status["role"], status["registered"]) == (A, "client", [])
    assert status["peers"][B]["state"] == "registered"
    assert status["peers"][B]["ledger"]["acked"] == 2
    assert status["routes"][f"{A}->{B}"] == {"register": 1, "client_notify": 1}
    client.connections.pool.find(B).connection.close()
    assert client.get_connection_status()["peers"][B] == {
        "state": "disconnected",
        "epoch": 1,
        "silent_s": 0.0,
        "reason": f"{A} closed its connection to {B}",
        "ledger": None,
    }


async def test_heartbeats_are_signs_of_life(two):
    client, server = two
    await client.register_client(B)
    clock = client.control._clock
    client.start_heartbeat(2.0)
    clock.advance(5)
    await client.send_business_message(message()).applied
    assert server.get_connection_status()["routes"][f"{A}->{B}"]["heartbeat"] == 2
    await client.close()
    assert clock.pending == 0


async def test_the_other_side_can_be_asked_for_its_status(two):
    client, _server = two
    await client.register_client(B)
    status = await client.control.query_status(B)
    assert status["node_id"] == B
    assert status["registered"] == [A]


async def test_a_server_greets_from_its_connect_callback(two):
    client, server = two
    seen = []
    server.control.monitor.on_connect(
        lambda peer_id: server.send_business_message(message(source=B, target=peer_id))
    )
    client.register_message_handler(Kind.CLIENT_NOTIFY, lambda inbound: seen.append(inbound.source))
    await client.register_client(B)
    assert seen == [B]
