import asyncio
import logging

import pytest

from fedbench.control.monitor import PeerState
from fedbench.control.service import ControlService
from fedbench.errors import ConnectionClosed, PeerLost, RegistrationError, RemoteProtocolError, RoutingError
from fedbench.messages import Kind, Message
from fedbench.transport.receipt import Ledger, Receipt
from tests.fakes.clock import FakeClock

A, B = "memory_client_1", "memory_server"


class Node:
    """A service whose outbound control messages are recorded, or carried to another at once."""

    def __init__(self, node_id, role, clock):
        self.sent = []
        self.other = None
        self.broken = None
        self.service = ControlService(node_id, role, self.send, clock)

    def send(self, peer_id, kind, body):
        if self.broken:
            raise self.broken
        self.sent.append((peer_id, kind, body))
        receipt = Receipt(Ledger())
        if self.other is not None:
            receipt.ack()
            self.other.service.handle(Message(kind, self.service.node_id, peer_id, body=body))
        return receipt


def joined(carry=True):
    clock = FakeClock()
    client, server = Node(A, "client", clock), Node(B, "server", clock)
    if carry:
        client.other, server.other = server, client
    client.service.connected(B, 1)
    server.service.connected(A, 1)
    return client, server, clock


async def test_a_client_is_introduced_or_refused_by_its_server():
    client, server, _ = joined()
    server.service.introduce = lambda client_id: {"index": 3}
    assert await client.service.register(B, 5) == {"index": 3}
    client, server, _ = joined()

    def unknown(client_id):
        raise RegistrationError(f"{client_id} is nobody")

    server.service.introduce = unknown
    with pytest.raises(RegistrationError, match=f"{B} refused {A}: {A} is nobody"):
        await client.service.register(B, 5)
    assert server.service.admissions.ids() == ()


async def test_registering_is_one_question_and_one_answer(caplog):
    caplog.set_level(logging.INFO)
    client, server, _ = joined()
    await client.service.register(B, 5)
    await client.service.register(B, 5)
    assert client.sent == [(B, Kind.REGISTER, {})]
    assert server.sent == [(A, Kind.REGISTERED, {"accepted": True, "introduction": {}})]
    assert client.service.monitor.peers[B].state is PeerState.REGISTERED
    assert server.service.admissions.ids() == (A,)
    assert [(record.levelname, record.name) for record in caplog.records] == [("INFO", "fedbench.control")]


async def test_an_older_epoch_is_refused_with_a_warning(caplog):
    client, server, _ = joined()
    server.service.admissions.admit(A, 2)
    with pytest.raises(RegistrationError, match=rf"{B} refused {A}: {A} is registered with epoch 2"):
        await client.service.register(B, 5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert client.service.monitor.peers[B].state is PeerState.CONNECTED


async def test_silence_and_loss_end_a_registration():
    client, _, _ = joined(carry=False)
    with pytest.raises(RegistrationError, match=r"did not answer the registration within 0\.001 s"):
        await client.service.register(B, 0.001)
    asking = asyncio.create_task(client.service.register(B, 5))
    status = asyncio.create_task(client.service.query_status(B))
    await asyncio.sleep(0)
    client.service.disconnected(B, PeerLost(B, "killed"))
    for task in (asking, status):
        with pytest.raises(RegistrationError, match="killed"):
            await task


async def test_leaving_in_order(caplog):
    caplog.set_level(logging.INFO)
    client, server, _ = joined()
    await client.service.unregister(B)
    assert client.sent == []
    await client.service.register(B, 5)
    await client.service.unregister(B)
    await client.service.unregister(B)
    assert [kind for _, kind, _ in client.sent] == [Kind.REGISTER, Kind.UNREGISTER]
    server.service.handle(Message(Kind.UNREGISTER, A, B))
    server.service.disconnected(A, ConnectionClosed("bye"))
    assert server.service.admissions.ids() == ()
    assert caplog.messages[1:] == [f"{B} unregistered {A}"]


@pytest.mark.parametrize("silent", [False, True])
async def test_a_goodbye_that_cannot_be_said_is_no_error(caplog, silent):
    caplog.set_level(logging.INFO)
    client, _, _ = joined()
    await client.service.register(B, 5)
    if silent:
        client.other = None
    else:
        client.broken = RoutingError(A, B, "gone")
    await client.service.unregister(B, 0.001)
    assert "could not say goodbye" in caplog.messages[-1]
    assert caplog.records[-1].levelno == logging.INFO


@pytest.mark.parametrize("closing", [False, True])
async def test_losing_a_client_is_a_warning_unless_the_node_closes(caplog, closing):
    client, server, _ = joined()
    await client.service.register(B, 5)
    if closing:
        server.service.closing()
    server.service.disconnected(A, PeerLost(A, "killed"))
    assert caplog.messages == ([] if closing else [f"{B} lost client {A}: killed"])
    assert server.service.monitor.peers[A].reason == "killed"


async def test_losing_a_client_that_never_registered_is_no_news(caplog):
    _, server, _ = joined()
    server.service.disconnected(A, PeerLost(A, "killed"))
    assert caplog.records == []


@pytest.mark.parametrize("kind", [Kind.CONNECTION_EVENT, Kind.DATA])
async def test_kinds_that_nobody_sends_are_refused(kind):
    _, server, _ = joined()
    with pytest.raises(RemoteProtocolError, match=f"{A} sent an unexpected {kind.value}"):
        server.service.handle(Message(kind, A, B))


async def test_a_client_cannot_answer_a_registration_of_the_server():
    _, server, _ = joined()
    with pytest.raises(RemoteProtocolError, match="no server asks for"):
        server.service.handle(Message(Kind.REGISTERED, A, B, body={"accepted": True}))
    assert server.service.monitor.peers[A].state is PeerState.CONNECTED


async def test_a_client_admits_nobody():
    client, _, _ = joined(carry=False)
    client.service.handle(Message(Kind.REGISTER, B, A))
    assert client.sent == [(B, Kind.REGISTERED, {"accepted": False, "reason": f"{A} is no server"})]


async def test_status():
    client, server, clock = joined()
    await client.service.register(B, 5)
    clock.advance(2.5)
    status = await client.service.query_status(B)
    assert status == {
        "node_id": B,
        "role": "server",
        "registered": [A],
        "peers": {A: {"state": "registered", "epoch": 1, "silent_s": 0.0, "reason": ""}},
    }
    clock.advance(1.5)
    assert server.service.get_status()["peers"][A]["silent_s"] == 1.5


async def test_heartbeats_go_to_who_is_connected_and_count_as_life(caplog):
    caplog.set_level(logging.INFO)
    client, server, clock = joined()
    client.service.start_heartbeat(2)
    clock.advance(5)
    assert client.sent == [(B, Kind.HEARTBEAT, {})] * 2
    assert server.service.get_status()["peers"][A]["silent_s"] == 1.0
    client.broken = RoutingError(A, B, "gone")
    clock.advance(2)
    assert "could not send a heartbeat" in caplog.messages[-1]
    client.service.disconnected(B, PeerLost(B, "killed"))
    client.broken = None
    clock.advance(2)
    assert len(client.sent) == 2
    client.service.close()
    client.service.close()
    assert clock.pending == 0


async def test_a_heartbeat_survives_peers_that_come_while_it_beats():
    _client, server, clock = joined()
    server.service.start_heartbeat(1)
    server.other = None
    send = server.send

    def send_and_meet(peer_id, kind, body):
        server.service.connected(f"memory_client_{len(server.sent) + 2}", 1)
        return send(peer_id, kind, body)

    server.service._send = send_and_meet
    clock.advance(1)
    assert [peer_id for peer_id, *_ in server.sent] == [A]
    server.service.close()
