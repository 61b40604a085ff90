"""What happens to a network, at the size at which it matters."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest

from fedbench.errors import PeerLost
from fedbench.loop import run
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.network.backend import NetworkTransport
from tests.fakes.proxy import Proxy
from tests.unit.fedbench.transport.network.conftest import CLIENT, SERVER, Net, within
from tests.unit.fedbench.transport.network.test_backend import ended, event_of, linked

CLIENTS = 200


@pytest.mark.slow
async def test_a_link_cut_and_restored_in_the_middle_of_100_mb(net):
    client, near, _ = await net.pair()
    came, beats = event_of(net.server), event_of(net.server, "beat")
    model = ModelState.from_arrays({"w": np.arange(25_000_000, dtype=np.float32)}, 1)
    net.proxy.cut_after = net.proxy.carried + (50 << 20)
    receipt = await client.push_event(CLIENT, SERVER, "tick", model)
    await client.push_event(CLIENT, SERVER, "beat", "behind it")
    near.send(Message(Kind.HEARTBEAT, CLIENT, SERVER))
    assert await within(came.get()) == model
    assert await within(beats.get()) == "behind it"
    await within(receipt.applied)
    assert net.proxy.connections == 2
    assert net.proxy.carried < 100_000_000 + (12 << 20)


@pytest.mark.slow
async def test_a_server_that_starts_again_under_two_hundred_clients(net):
    client = net.client(direct=True)
    client.first_delay_s = 0.2
    ids = [f"client-{number}" for number in range(CLIENTS)]
    for client_id in ids:
        await client.start_event_listener(client_id, role="client")
    ends = await within(asyncio.gather(*(client.connect(SERVER, client_id) for client_id in ids)))
    port = net.server.port
    for connection in list(net.server._connections.values()):
        connection.abort("killed")
    await net.server.close()
    again = NetworkTransport(SERVER, port=port)
    net.made.append(again)
    await again.start_event_listener()
    reasons = await asyncio.gather(*(ended(end) for end in ends))
    assert {type(reason) for reason in reasons} == {PeerLost}
    await within(asyncio.gather(*(client.connect(SERVER, client_id) for client_id in ids)))
    receipts = await again.broadcast(SERVER, ids, "back")
    for receipt in receipts.values():
        await within(receipt.delivered)


@pytest.mark.slow
async def test_two_hundred_links_that_are_cut_at_once_come_back(net):
    client = net.client()
    client.first_delay_s = 0.2
    ids = [f"client-{number}" for number in range(CLIENTS)]
    for client_id in ids:
        await client.start_event_listener(client_id, role="client")
    ends = await within(asyncio.gather(*(client.connect(SERVER, client_id) for client_id in ids)))
    net.proxy.cut()
    receipts = await net.server.broadcast(SERVER, ids, "news")
    for receipt in receipts.values():
        await within(receipt.delivered)
    assert [await within(client.receive(client_id, SERVER)) for client_id in ids] == ["news"] * CLIENTS
    assert not any(end.closed for end in ends)


def test_everything_works_on_uvloop_too():
    async def main():
        net = Net({}, {})
        try:
            await net.start()
            client, near, _ = await net.pair()
            came = event_of(net.server)
            model = ModelState.from_arrays({"w": np.arange(1 << 19, dtype=np.float64)}, 1)
            net.proxy.cut_after = net.proxy.carried + (1 << 20)
            receipt = await client.push_event(CLIENT, SERVER, "tick", model)
            assert await within(came.get()) == model
            await within(receipt.applied)
            net.proxy.cut()
            await within(linked(near, False))
        finally:
            await net.close()

    run(main(), "uvloop")


async def test_nothing_is_ever_unpickled(net, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    client, _, _ = await net.pair()
    came = event_of(net.server)
    await client.push_event(CLIENT, SERVER, "tick", {"deep": [1, b"x" * 100_000]})
    assert (await within(came.get()))["deep"][0] == 1


async def test_a_slow_peer_slows_nobody(net):
    slow = Proxy()
    await slow.start(net.server.port)
    first, second = net.client(port=slow.port), net.client("bob")
    try:
        await within(first.connect(SERVER))
        await within(second.connect(SERVER))
        slow.silent = True
        model = ModelState.from_arrays({"w": np.ones(1 << 20, np.float32)}, 1)
        for version in range(1, 4):
            await net.server.push(SERVER, [CLIENT], model.with_version(version))
        came = event_of(second)
        for number in range(50):
            receipt = await net.server.push_event(SERVER, "bob", "tick", number)
            await within(receipt.applied)
        assert came.qsize() == 50
    finally:
        await first.close()
        await slow.close()
