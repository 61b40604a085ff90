"""The stub of a server: who is subscribed, and what becomes of a broadcast."""

import asyncio
import logging

import pytest

from fedbench.errors import (
    DeadlineExceeded,
    LocalProtocolError,
    PeerLost,
    RemoteError,
    RoutingError,
)
from fedbench.rpc.global_model import GlobalModel

SERVER, CLIENT = "yaml_fed_server", "yaml_client_1"


def warnings(caplog, logger="fedbench.rpc"):
    return [r.getMessage() for r in caplog.records if r.name == logger and r.levelno == logging.WARNING]


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def subscribed(world, count):
    server = await world.server()
    clients = [await world.client(n + 1) for n in range(count)]
    for client in clients:
        await client.endpoint.call(SERVER, "subscribe", "model")
    return server, clients


# Subscriptions ---------------------------------------------------------------------------------------------


async def test_subscribers_are_kept_in_order_and_by_event(world):
    server, clients = await subscribed(world, 3)
    await clients[0].endpoint.call(SERVER, "subscribe")
    await clients[2].endpoint.call(SERVER, "subscribe", "best")
    assert {event: list(ids) for event, ids in server.stub.subscribers.items()} == {
        "model": ["yaml_client_1", "yaml_client_2", "yaml_client_3"],
        "best": ["yaml_client_3"],
    }
    for _ in range(2):
        assert (await clients[1].endpoint.call(SERVER, "unsubscribe", "model")).body is True
    assert list(server.stub.subscribers["model"]) == ["yaml_client_1", "yaml_client_3"]
    clients[0].abort()
    assert list(server.stub.subscribers["model"]) == ["yaml_client_3"]


async def test_a_subscription_needs_the_name_of_an_event(world):
    _, clients = await subscribed(world, 1)
    with pytest.raises(RemoteError, match="needs the name of an event") as raised:
        await clients[0].endpoint.call(SERVER, "unsubscribe", {"args": ["best"]})
    assert raised.value.type_name == "ValueError"


async def test_a_client_takes_no_subscriptions(world):
    server, _ = await world.server(), await world.client(target=GlobalModel())
    with pytest.raises(RemoteError) as raised:
        await server.endpoint.call(CLIENT, "subscribe")
    assert raised.value.type_name == "PermissionError"


# Broadcasting ----------------------------------------------------------------------------------------------


async def test_broadcast_returns_when_every_subscriber_has_applied_it(world, model):
    server, clients = await subscribed(world, 3)
    await world.client(4)  # did not subscribe
    for client in clients:
        client.target.held.set()  # makes model_update wait
    broadcast = asyncio.create_task(server.stub.broadcast_model(model(1)))
    await turns()
    assert [len(client.target.models) for client in clients] == [1, 1, 1]
    clients[0].target.release.set()
    clients[1].target.release.set()
    await turns()
    assert not broadcast.done()
    clients[2].target.release.set()
    assert await broadcast == {"yaml_client_1": None, "yaml_client_2": None, "yaml_client_3": None}
    assert clients[0].target.models[0] is clients[1].target.models[0], "one model by reference"


async def test_one_client_that_raises_does_not_stop_the_others(world, model, caplog):
    server, clients = await subscribed(world, 3)
    clients[1].target.refuse = ZeroDivisionError("no")
    outcomes = await server.stub.broadcast_model(model(1))
    assert list(outcomes) == ["yaml_client_1", "yaml_client_2", "yaml_client_3"]
    assert outcomes["yaml_client_1"] is outcomes["yaml_client_3"] is None
    error = outcomes["yaml_client_2"]
    assert isinstance(error, RemoteError)
    assert (error.node_id, error.type_name) == ("yaml_client_2", "ZeroDivisionError")
    assert len(clients[2].target.models) == 1
    assert len(warnings(caplog, "fedbench.transport")) == 1


async def test_broadcast_stops_waiting_at_the_deadline(world, model):
    server, clients = await subscribed(world, 2)
    clients[0].target.held.set()
    outcomes = await server.stub.broadcast_model(model(1), deadline_s=0.01)
    assert isinstance(outcomes["yaml_client_1"], DeadlineExceeded)
    assert "did not apply the model within 0.01 s" in str(outcomes["yaml_client_1"])
    assert outcomes["yaml_client_2"] is None


async def test_broadcast_tells_of_clients_that_die_before_they_have_applied_it(world, model):
    server, clients = await subscribed(world, 2)
    clients[0].target.held.set()
    broadcast = asyncio.create_task(server.stub.broadcast_model(model(1)))
    await turns()
    clients[0].abort()
    outcomes = await broadcast
    assert isinstance(outcomes["yaml_client_1"], PeerLost)
    assert outcomes["yaml_client_2"] is None
    assert await server.stub.broadcast_model(model(2)) == {"yaml_client_2": None}


async def test_broadcast_tells_of_clients_that_cannot_be_reached(world, model):
    server, _ = await subscribed(world, 1)
    server.stub.subscribers["model"] = {"nobody": None, CLIENT: None}
    outcomes = await server.stub.broadcast_model(model(1))
    assert isinstance(outcomes["nobody"], RoutingError)
    assert outcomes[CLIENT] is None


async def test_broadcast_without_subscribers_returns_at_once(world, model):
    server = await world.server()
    assert await server.stub.broadcast_model(model(1)) == {}
    assert await server.stub.broadcast_model(model(1), "best") == {}


async def test_only_a_server_broadcasts(world, model):
    await world.server()
    client = await world.client()
    with pytest.raises(LocalProtocolError, match="yaml_client_1 is a client"):
        await client.stub.broadcast_model(model(1))
