import asyncio
import gc
import logging
import math

import pytest

from fedbench.errors import (
    ConnectionClosed,
    DeadlineExceeded,
    LocalProtocolError,
    PeerLost,
    RemoteError,
    RoutingError,
)
from fedbench.messages import Kind, Message
from fedbench.rpc.endpoint import RpcEndpoint
from tests.fakes.clock import FakeClock
from tests.pace import limit_s

SERVER, CLIENT = "yaml_fed_server", "yaml_client_1"


def record_requests(node):
    """Let ``node`` keep the requests that arrive instead of answering them."""
    requests = []
    node.comm.connections._owners[Kind.RPC_REQUEST] = requests.append
    return requests


def answer(node, request, body, source=None):
    node.comm.send_business_message(
        Message(
            Kind.RPC_RESPONSE,
            source or node.comm.node_id,
            request.source,
            body=body,
            correlation_id=request.correlation_id,
        )
    )


async def until(condition):
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def test_a_call_returns_what_the_handler_returned(world, model):
    server, client = await world.server(), await world.client()
    response = await server.endpoint.call(CLIENT, "echo", {"a": [1, 2.5, None]}, model(7))
    assert response.body == {"a": [1, 2.5, None]}
    assert response.tensors == model(7)
    assert client.target.nodes == [CLIENT], "the handler runs as its node"


async def test_calls_go_both_ways_at_once(world):
    server, client = await world.server(), await world.client()
    down, up = await asyncio.gather(
        server.endpoint.call(CLIENT, "echo", "down"), client.endpoint.call(SERVER, "echo", "up")
    )
    assert (down.body, up.body) == ("down", "up")


async def test_answers_find_their_callers_in_any_order(world):
    server, client = await world.server(), await world.client()
    requests = record_requests(client)
    calls = [asyncio.create_task(server.endpoint.call(CLIENT, "m", n)) for n in range(5)]
    await until(lambda: len(requests) == 5)
    for request in reversed(requests):
        answer(client, request, request.body * 10)
    assert [response.body for response in await asyncio.gather(*calls)] == [0, 10, 20, 30, 40]
    assert len(server.endpoint._calls) == 0


async def test_a_handler_that_raises_reaches_the_caller_as_remote_error(world, caplog):
    server, _ = await world.server(), await world.client()
    with pytest.raises(RemoteError) as raised:
        await server.endpoint.call(CLIENT, "raise")
    error = raised.value
    assert (error.node_id, error.type_name, error.message) == (CLIENT, "ZeroDivisionError", "by zero")
    assert "conftest.py" in error.traceback_text
    assert error.traceback_text.rstrip().endswith("ZeroDivisionError: by zero")
    assert [r.levelname for r in caplog.records if r.name == "fedbench.rpc"] == ["WARNING"]


async def test_a_deadline_error_of_the_handlers_own_is_a_remote_error(world):
    server, _ = await world.server(), await world.client()
    with pytest.raises(RemoteError, match="DeadlineExceeded: a call of its own"):
        await server.endpoint.call(CLIENT, "deadline")


async def test_no_answer_in_time(world):
    clock = FakeClock()
    server, client = await world.server(clock=clock), await world.client()
    record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "slow", deadline_s=5))
    await asyncio.sleep(0)
    clock.advance(4.999)
    await asyncio.sleep(0)
    assert not call.done()
    clock.advance(0.001)
    with pytest.raises(DeadlineExceeded, match="yaml_client_1 did not answer slow within 5 s"):
        await call
    assert len(server.endpoint._calls) == 0
    assert len(server.endpoint._calls) == 0


async def test_each_call_has_a_deadline_of_its_own(world):
    clock = FakeClock()
    server, client = await world.server(clock=clock), await world.client()
    record_requests(client)
    calls = [
        asyncio.create_task(server.endpoint.call(CLIENT, "slow", deadline_s=seconds)) for seconds in (3, 1, 2)
    ]
    await asyncio.sleep(0)
    for index in (1, 2, 0):
        assert not calls[index].done()
        clock.advance(1)
        with pytest.raises(DeadlineExceeded):
            await calls[index]
    assert clock.pending == 0


async def test_the_deadline_travels_with_the_request(world):
    clock = FakeClock()
    server, client = await world.server(clock=clock), await world.client()
    requests = record_requests(client)
    calls = [asyncio.create_task(server.endpoint.call(CLIENT, "m", None, None, s)) for s in (None, 2.5)]
    await until(lambda: len(requests) == 2)
    assert requests[0].deadline_ns == 0
    assert requests[1].deadline_ns == clock.now_ns() + 2_500_000_000
    for request in requests:
        answer(client, request, None)
    await asyncio.gather(*calls)


async def test_an_answer_in_time_leaves_no_deadline(world):
    clock = FakeClock()
    server, _ = await world.server(clock=clock), await world.client()
    for n in range(50):
        assert (await server.endpoint.call(CLIENT, "echo", n, deadline_s=30)).body == n
    assert len(server.endpoint._calls) == 0
    assert clock.pending == 1, "one timer whatever the number of calls"


async def test_a_late_answer_is_ignored(world):
    clock = FakeClock()
    server, client = await world.server(clock=clock), await world.client()
    requests = record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "slow", deadline_s=1))
    await until(lambda: requests)
    clock.advance(1)
    answer(client, requests[0], "late, before the caller has run")
    with pytest.raises(DeadlineExceeded):
        await call
    answer(client, requests[0], "later still")


async def test_only_the_first_answer_counts(world):
    server, client = await world.server(), await world.client()
    requests = record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await until(lambda: requests)
    answer(client, requests[0], "first")
    answer(client, requests[0], "second")
    assert (await call).body == "first"


async def test_an_answer_from_another_peer_is_ignored(world):
    server, first, second = await world.server(), await world.client(1), await world.client(2)
    requests = record_requests(first)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await until(lambda: requests)
    answer(second, requests[0], "forged")
    await asyncio.sleep(0)
    assert not call.done()
    answer(first, requests[0], "real")
    assert (await call).body == "real"


async def test_a_peer_that_dies_in_mid_call_fails_only_its_own_calls(world):
    server, first, second = await world.server(), await world.client(1), await world.client(2)
    calls = [asyncio.create_task(server.endpoint.call(CLIENT, "hold")) for _ in range(3)]
    other = asyncio.create_task(server.endpoint.call("yaml_client_2", "hold"))
    await asyncio.wait_for(asyncio.gather(first.target.held.wait(), second.target.held.wait()), limit_s(5))
    first.abort()
    for call in calls:
        with pytest.raises(PeerLost) as raised:
            await call
        assert raised.value.peer_id == CLIENT
        assert "ended without closing" in raised.value.reason
    assert not other.done()
    second.target.release.set()
    await other


async def test_a_peer_that_leaves_in_order_fails_open_calls_too(world):
    server, client = await world.server(), await world.client()
    record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await asyncio.sleep(0)
    await client.comm.unregister_client()
    with pytest.raises(PeerLost, match="closed its connection"):
        await call


async def test_cancelling_forgets_the_call(world):
    server, client = await world.server(), await world.client()
    requests = record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m", deadline_s=60))
    await until(lambda: requests)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(server.endpoint._calls) == 0
    assert len(server.endpoint._calls) == 0
    answer(client, requests[0], "nobody waits")


async def test_a_caller_cancelled_as_its_call_fails_leaves_no_complaint(world, caplog):
    server, client = await world.server(), await world.client()
    record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await asyncio.sleep(0)
    client.abort()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    del call
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_peer_lost_after_its_answer_changes_nothing(world):
    server, client = await world.server(), await world.client()
    requests = record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await until(lambda: requests)
    answer(client, requests[0], "in time")
    client.abort()
    assert (await call).body == "in time"


async def test_a_call_that_cannot_be_sent_is_forgotten(world):
    server = await world.server()
    with pytest.raises(RoutingError):
        await server.endpoint.call("nobody", "m", deadline_s=1)
    await world.client()
    with pytest.raises(LocalProtocolError):
        await server.endpoint.call(CLIENT, "m", object())
    assert len(server.endpoint._calls) == 0


async def test_calling_a_peer_that_has_gone(world):
    server, client = await world.server(), await world.client()
    client.abort()
    with pytest.raises(PeerLost, match=f"lost {CLIENT}"):
        await server.endpoint.call(CLIENT, "m")
    with pytest.raises(RoutingError, match="there is no connection"):
        await server.endpoint.call("memory_client_99", "m")


async def test_a_node_has_one_endpoint(world):
    server = await world.server()
    assert RpcEndpoint.of(server.comm) is server.endpoint
    with pytest.raises(LocalProtocolError):
        RpcEndpoint(server.comm)


async def test_closing_stops_the_timer(world):
    clock = FakeClock()
    server, client = await world.server(clock=clock), await world.client()
    record_requests(client)
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m", deadline_s=1))
    await asyncio.sleep(0)
    server.endpoint.close()
    assert clock.pending == 0
    client.abort()
    with pytest.raises(PeerLost):
        await call


@pytest.mark.parametrize("deadline_s", [-1.0, math.nan])
async def test_a_deadline_that_is_none(world, deadline_s):
    server, _ = await world.server(), await world.client()
    with pytest.raises(ValueError, match="must be at least 0"):
        await server.endpoint.call(CLIENT, "echo", deadline_s=deadline_s)
    assert (await server.endpoint.call(CLIENT, "echo", 1, deadline_s=math.inf)).body == 1


async def test_calls_end_as_closed_where_this_node_closed_the_connection(world):
    server, client = await world.server(), await world.client()
    call = asyncio.create_task(server.endpoint.call(CLIENT, "hold"))
    await client.target.held.wait()
    await server.comm.connections.disconnect(CLIENT)
    with pytest.raises(ConnectionClosed):
        await call
