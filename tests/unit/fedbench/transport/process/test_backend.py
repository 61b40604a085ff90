"""ProcessTransport beyond the contract of all transports: exchanges, stores and what closing takes down."""

from __future__ import annotations

import numpy as np
import pytest

from fedbench.errors import RoutingError
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.transport.process.backend import ProcessTransport


async def made(*nodes, exchange="backend", **options):
    transports = [ProcessTransport(node, exchange, **options) for node in nodes]
    for transport in transports:
        await transport.start_event_listener()
    return transports


async def close(*transports):
    for transport in transports:
        await transport.close()


async def test_exchanges_are_apart():
    server, other = *await made("process_server_1"), *await made("process_server_1", exchange="other")
    [client] = await made("process_client_1_1")
    [stranger] = await made("process_client_1_1", exchange="third")
    await client.connect("process_server_1")
    with pytest.raises(RoutingError, match="no such node listens"):
        await stranger.connect("process_server_1")
    await close(server, other, client, stranger)


async def test_a_store_of_its_own_goes_with_the_transport_and_a_given_one_stays():
    store = SharedStore()
    server, client = *await made("process_server_1", store=store), *await made("process_client_1_1")
    model = ModelState.from_arrays({"w": np.ones(10)})
    await server.connect("process_client_1_1")
    await server.send("process_server_1", "process_client_1_1", model)
    await client.send("process_client_1_1", "process_server_1", model)
    assert await server.receive("process_server_1", "process_client_1_1", 10) == model
    await close(server, client)
    assert store.stats()["segments"] == 1
    assert client.store.stats()["segments"] == 0
    store.close()


async def test_a_received_model_is_released_with_its_last_view():
    store = SharedStore()
    server, client = *await made("process_server_1", store=store), *await made("process_client_1_1")
    await client.connect("process_server_1")
    for number in range(20):
        model = ModelState.from_arrays({"w": np.full(1 << 15, number, np.float32)})
        await server.send("process_server_1", "process_client_1_1", model)
        received = await client.receive("process_client_1_1", "process_server_1", 10)
        assert received["w"][-1] == number
        assert client.store.holds(received.draft().freeze()), "updates are built in the client's own memory"
        del model, received
        await (await client.send("process_client_1_1", "process_server_1", "ack")).delivered
        await server.receive("process_server_1", "process_client_1_1", 10)
    assert store.stats()["slots"] <= 3
    await close(server, client)
    store.close()
