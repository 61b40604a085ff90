from __future__ import annotations

import asyncio
import logging
import math

import msgspec
import numpy as np
import pytest

from fedbench.errors import ConfigError, ConnectionBroken, ConnectionClosed, PeerLost, RoutingError
from fedbench.messages import Kind, Message
from fedbench.netsettings import NetworkSettings, TlsSettings
from fedbench.tensors.model import ModelState
from fedbench.transport.connection import FENCED
from fedbench.transport.network.backend import NetworkTransport
from fedbench.transport.network.server import Server
from fedbench.transport.network.session import Position
from fedbench.transport.receipt import Outcome
from tests.pace import limit_s
from tests.unit.fedbench.transport.network.conftest import CLIENT, OTHER, SERVER, within

MODEL = ModelState.from_arrays({"w": np.arange(1 << 20, dtype=np.float64)}, 3)  # 8 MiB


def event_of(transport, name="tick"):
    """Return a queue of what handlers of an event get."""
    queue = asyncio.Queue()
    transport.register_event_handler(name, lambda source, data: queue.put_nowait(data))
    return queue


async def linked(connection, yes=True):
    """Wait until a connection has a link again (or none)."""
    while connection.linked is not yes:
        await asyncio.sleep(0.005)


async def ended(connection):
    future = asyncio.get_running_loop().create_future()
    connection.on_closed(lambda _, reason: future.done() or future.set_result(reason))
    return await within(future)


@pytest.mark.parametrize("upward", [True, False])
@pytest.mark.slow
async def test_a_link_cut_again_and_again_in_the_middle_of_a_model_loses_and_repeats_nothing(net, upward):
    client, near, far = await net.pair()
    sender, source, receiver, target = (
        (client, CLIENT, net.server, SERVER) if upward else (net.server, SERVER, client, CLIENT)
    )
    came = event_of(receiver)
    receipts = []
    for number in range(4):
        net.proxy.cut_after = net.proxy.carried + (3 << 20)
        receipts.append(await sender.push_event(source, target, "tick", MODEL.with_version(number)))
        receipts.append(await sender.push_event(source, target, "tick", number))
        model, told = await within(came.get()), await within(came.get())
        assert (model, model.version, told) == (MODEL, number, number)
    for receipt in receipts:
        await within(receipt.applied)
    assert net.proxy.connections >= 4
    assert net.proxy.carried < (8 * 4 + 8) << 20  # it went on in the middle, and did not begin again
    assert not near.closed
    assert near.epoch == far.epoch == 1
    assert near.ledger.balanced()
    assert far.ledger.balanced()


async def test_what_is_sent_without_a_link_arrives_when_there_is_one(net, caplog):
    caplog.set_level(logging.INFO)
    client, near, far = await net.pair()
    up, down = event_of(net.server), event_of(client)
    net.proxy.refuse = True
    net.proxy.cut()
    await within(linked(near, False))
    await within(linked(far, False))
    for number in range(50):
        await client.push_event(CLIENT, SERVER, "tick", number)
        await net.server.push_event(SERVER, CLIENT, "tick", -number)
    net.proxy.refuse = False
    assert [await within(up.get()) for _ in range(50)] == list(range(50))
    assert [await within(down.get()) for _ in range(50)] == [-number for number in range(50)]
    assert "goes on with" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_link_that_does_not_return_is_a_peer_that_is_lost_on_both_sides(make_net):
    net = await make_net({"resume_window_s": 0.2})  # the client has 5 s of its own
    client, near, far = await net.pair()
    receipt = await net.server.push_event(SERVER, CLIENT, "tick", 1)
    await within(receipt.applied)
    net.proxy.refuse = True
    net.proxy.cut()
    await within(linked(near, False))
    lost = await client.push_event(CLIENT, SERVER, "tick", 2)
    reasons = await asyncio.gather(ended(near), ended(far))
    assert [type(reason) for reason in reasons] == [PeerLost, PeerLost]
    assert lost.outcome is Outcome.LOST
    net.proxy.refuse = False
    again = await within(client.connect(SERVER))
    assert again.epoch == 2


async def test_a_half_open_link_is_noticed_and_replaced(make_net):
    net = await make_net({"heartbeat_s": 0.2})
    client, near, far = await net.pair()
    came = event_of(net.server)
    net.proxy.silent = True
    began_s = asyncio.get_running_loop().time()
    await client.push_event(CLIENT, SERVER, "tick", "into the void")
    await within(linked(near, False))
    await within(linked(far, False))
    assert asyncio.get_running_loop().time() - began_s < 0.2 * 1.5 + 0.5
    net.proxy.silent = False
    assert await within(came.get()) == "into the void"


@pytest.mark.slow
async def test_a_handler_that_blocks_for_several_heartbeats_costs_no_connection(make_net):
    net = await make_net({"heartbeat_s": 0.8})
    client, near, _far = await net.pair()
    go = asyncio.Event()

    async def hang(source, data):
        await go.wait()

    net.server.register_event_handler("hang", hang)
    receipts = [await client.push_event(CLIENT, SERVER, "hang", b"x" * 100_000) for _ in range(40)]
    await asyncio.sleep(2.4)  # three heartbeats of real sockets, through which no link may be cut
    assert near.linked
    assert net.proxy.connections == 1
    go.set()
    for receipt in receipts:
        await within(receipt.applied)


async def test_a_server_that_starts_again_knows_no_sessions(make_net):
    net = await make_net()
    client, near, _ = await net.pair(direct=True)
    port = net.server.port
    for connection in list(net.server._connections.values()):
        connection.abort("killed")
    await net.server.close()
    server = NetworkTransport(SERVER, port=port)
    net.made.append(server)
    await server.start_event_listener()
    reason = await ended(near)
    assert isinstance(reason, PeerLost)
    assert "knows no such session" in str(reason)
    assert (await within(client.connect(SERVER))).epoch == 1


async def test_a_second_connection_of_an_identity_fences_the_first(net):
    _client, near, far = await net.pair()
    other = net.client()
    newer = await within(other.connect(SERVER))
    reason = await ended(near)
    assert type(reason) is ConnectionBroken
    assert reason.reason == FENCED
    assert str(reason) == f"{SERVER} closed its connection to {CLIENT}: {FENCED}"
    assert str(await ended(far)) == str(reason)
    assert type(await ended(far)) is not PeerLost
    assert newer.epoch == 2
    assert await within((await other.push_event(CLIENT, SERVER, "x", 1)).applied) is None


async def test_only_who_has_the_secret_goes_on_with_a_session(net):
    _client, near, far = await net.pair()
    net.proxy.refuse = True
    net.proxy.cut()
    await within(linked(near, False))
    near.secret = b"guessed"
    net.proxy.refuse = False
    assert "knows no such session" in str(await ended(near))
    assert not far.closed


async def test_connecting_twice_at_once_makes_one_connection(net):
    client = net.client()
    one, other = await within(asyncio.gather(client.connect(SERVER), client.connect(SERVER)))
    assert one is other
    assert net.proxy.connections == 1


async def test_more_than_a_hundred_connections_of_one_process(net):
    client = net.client(direct=True)
    for number in range(101):
        await client.start_event_listener(f"client-{number}", role="client")
    await within(asyncio.gather(*(client.connect(SERVER, f"client-{n}") for n in range(101))))
    receipts = await net.server.broadcast(SERVER, [f"client-{n}" for n in range(101)], "news")
    for receipt in receipts.values():
        await within(receipt.delivered)
    assert len(net.server.status()["connections"]) == 101


async def test_nodes_that_begin_to_listen_at_once_share_one_port():
    server = NetworkTransport(SERVER)
    client = None
    try:
        others = [server.start_event_listener(f"{SERVER}{number}", role="server") for number in range(3)]
        await within(asyncio.gather(server.start_event_listener(), *others))
        client = NetworkTransport(CLIENT, role="client", port=server.port)
        for number in range(3):
            await within(client.connect(f"{SERVER}{number}"))
    finally:
        for transport in (client, server):
            if transport is not None:
                await transport.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", server.port)


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_listening_that_is_given_up_leaves_no_port_behind(how, monkeypatch):
    made, going = [], asyncio.Event()
    listen = Server.listen

    async def slowly(server, host, port):
        made.append(await listen(server, host, port))
        await going.wait()
        return made[-1]

    monkeypatch.setattr(Server, "listen", slowly)
    transport = NetworkTransport(SERVER)
    listening = asyncio.create_task(transport.start_event_listener())
    async with asyncio.timeout(limit_s(5)):
        while not made:
            await asyncio.sleep(0.001)
    if how == "cancelled":
        listening.cancel()
    else:
        await transport.close()
        going.set()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else ConnectionClosed):
        await within(listening)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", made[0])
    if how == "cancelled":
        going.set()
        await within(transport.start_event_listener())
        client = NetworkTransport(CLIENT, role="client", port=transport.port)
        await within(client.connect(SERVER))
        await client.close()
    await transport.close()


async def test_a_port_in_use_is_named(net):
    other = NetworkTransport(SERVER, port=net.server.port)
    net.made.append(other)
    with pytest.raises(
        RoutingError,
        match=f"cannot listen at 127.0.0.1:{net.server.port}: it is in use; stop what listens there",
    ):
        await other.start_event_listener()


async def test_a_server_dials_nobody(net):
    with pytest.raises(RoutingError, match="no client of that id is connected"):
        await net.server.connect(CLIENT)
    with pytest.raises(RoutingError, match="server to server"):
        await net.server.connect("network_server_y_2")


async def test_a_peer_that_is_known_to_be_gone_is_lost_at_once(net):
    _client, _near, far = await net.pair()
    net.server.lose(CLIENT, "its process ended")
    assert far.closed
    with pytest.raises(PeerLost, match="its process ended"):
        far.send(Message(Kind.DATA, SERVER, CLIENT))
    net.server.lose("nobody", "whatever")


async def test_closing_while_dialling_again_leaves_nothing_behind(net):
    client, near, _ = await net.pair()
    net.proxy.refuse = True
    net.proxy.cut()
    await within(linked(near, False))
    await within(client.close())
    assert near.closed


def test_what_others_could_hear_is_refused():
    with pytest.raises(ConfigError, match="is not loopback"):
        NetworkTransport(SERVER, host="0.0.0.0")
    with pytest.raises(TypeError):
        NetworkTransport(SERVER, colour="red")
    settings = NetworkSettings(port=5, tls=TlsSettings("c"))
    assert NetworkTransport(SERVER, settings).settings is settings
    assert NetworkTransport(SERVER, port=5, tls={"cert": "c"}).settings == settings


async def test_two_servers_share_a_port(net):
    await net.server.start_event_listener("carol", role="server")
    client = net.client(OTHER)
    assert (await within(client.connect("carol"))).peer_id == "carol"
    assert (await within(client.connect(SERVER))).peer_id == SERVER


async def test_a_server_that_claims_what_cannot_be_is_left(net, monkeypatch):
    _, near, _ = await net.pair()
    welcome = net.server._welcome

    def lie(connection):
        return msgspec.structs.replace(welcome(connection), position=Position((9, 9, 9)))

    monkeypatch.setattr(net.server, "_welcome", lie)
    net.proxy.cut()
    reason = await ended(near)
    assert isinstance(reason, PeerLost)
    assert "are acknowledged" in str(reason)


async def test_a_server_that_tells_no_possible_heartbeat_is_left(net, monkeypatch):
    welcome = net.server._welcome
    monkeypatch.setattr(
        net.server, "_welcome", lambda it: msgspec.structs.replace(welcome(it), heartbeat_s=math.nan)
    )
    with pytest.raises(RoutingError, match="is no fedbench server: its heartbeat_s is nan"):
        await within(net.client().connect(SERVER))


async def test_nobody_is_watched_any_more_when_all_is_closed(net):
    client, _, _ = await net.pair()
    assert (len(net.server._pacemaker), len(client._watchdog)) == (1, 1)
    assert (len(net.server._watchdog), len(client._pacemaker)) == (0, 0)
    await client.close()
    await net.server.close()
    assert (len(net.server._pacemaker), len(client._watchdog)) == (0, 0)


async def test_a_transport_that_is_closed_while_it_dials_adopts_nothing(net):
    client = net.client()
    dialling = asyncio.create_task(client.connect(SERVER))
    while not net.proxy.connections:
        await asyncio.sleep(0)
    client._closed = True
    with pytest.raises(ConnectionClosed):
        await within(dialling)
    client._closed = False
