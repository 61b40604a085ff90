import asyncio
import contextvars
import logging

import pytest

from fedbench.errors import (
    ConnectionClosed,
    DeadlineExceeded,
    PeerLost,
    RemoteError,
    TensorStoreFull,
)
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from tests.fakes.clock import FakeClock

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


# Answering -------------------------------------------------------------------------------------------------


async def test_requests_start_in_order_of_arrival_and_run_at_once(world):
    server, client = await world.server(), await world.client()
    calls = [asyncio.create_task(server.endpoint.call(CLIENT, "hold", n)) for n in range(3)]
    await client.target.held.wait()
    await turns()
    assert len(client.target.nodes) == 3, "none waits for another"
    client.target.release.set()
    assert [response.body for response in await asyncio.gather(*calls)] == [0, 1, 2]


async def test_the_handler_is_cancelled_at_the_deadline(world):
    clock = FakeClock()
    server, client = await world.server(), await world.client(clock=clock)
    request = Message(
        Kind.RPC_REQUEST, SERVER, CLIENT, "hold", correlation_id=99, deadline_ns=clock.now_ns() + 10**9
    )
    server.comm.send_business_message(request)
    await client.target.held.wait()
    clock.advance(0.999)
    await turns()
    assert client.target.cancelled == 0
    clock.advance(0.001)
    await turns()
    assert client.target.cancelled == 1
    assert client.stub._running == {}


async def test_caller_and_handler_agree_on_the_deadline(world):
    server, client = await world.server(), await world.client()
    with pytest.raises(DeadlineExceeded):
        await server.endpoint.call(CLIENT, "hold", deadline_s=0.02)
    await turns()
    assert client.target.cancelled == 1
    assert client.stub._running == {}


async def test_an_error_with_text_that_cannot_be_encoded_reaches_the_caller(world):
    server, client = await world.server(), await world.client()

    class Strange:
        async def call(self, method, body, tensors):
            raise FileNotFoundError("no such file: \udcff " + "x" * 5000)

    client.stub._target = Strange()
    with pytest.raises(RemoteError) as raised:
        await server.endpoint.call(CLIENT, "m")
    raised.value.message.encode()
    raised.value.traceback_text.encode()
    assert len(raised.value.message) == 1000
    assert len(raised.value.traceback_text) <= 2000


async def test_an_answer_that_cannot_be_sent_becomes_an_error(world, caplog):
    server, client = await world.server(), await world.client()
    real, refused = client.stub._send, []

    def send(message):
        if message.method != "error":
            refused.append(message)
            raise TensorStoreFull("no room for an answer")
        return real(message)

    client.stub._send = send
    with pytest.raises(RemoteError, match="TensorStoreFull: no room for an answer"):
        await server.endpoint.call(CLIENT, "m")
    assert len(refused) == 1
    assert "could not answer yaml_fed_server: no room" in caplog.text


async def test_a_met_deadline_is_discarded(world):
    server, client = await world.server(), await world.client()
    await server.endpoint.call(CLIENT, "echo", deadline_s=60)
    assert client.stub._running == {}


async def test_more_than_max_calls_are_refused(world):
    server, client = await world.server(), await world.client(max_calls=2)
    running = [asyncio.create_task(server.endpoint.call(CLIENT, "hold")) for _ in range(2)]
    await client.target.held.wait()
    await turns()
    with pytest.raises(RemoteError, match="runs 2 calls already") as raised:
        await server.endpoint.call(CLIENT, "hold", deadline_s=5)
    assert raised.value.type_name == "Overloaded"
    client.target.release.set()
    await asyncio.gather(*running)
    await server.endpoint.call(CLIENT, "echo")


async def test_an_answer_that_is_not_plain_data_is_an_error_of_the_handler(world):
    server, _ = await world.server(), await world.client()
    with pytest.raises(RemoteError, match=r"cannot carry a builtins\.object") as raised:
        await server.endpoint.call(CLIENT, "object")
    assert raised.value.type_name == "LocalProtocolError"


async def test_a_handler_that_raises_cancelled_error_by_itself_is_answered(world):
    server, client = await world.server(), await world.client()
    with pytest.raises(RemoteError) as raised:
        await server.endpoint.call(CLIENT, "cancelled", deadline_s=5)
    assert raised.value.type_name == "CancelledError"
    assert client.stub._running == {}


async def test_an_answer_to_a_caller_that_has_gone_is_a_warning(world, caplog):
    server, client = await world.server(), await world.client()

    class Stubborn:
        async def call(self, method, body, tensors):
            try:
                await asyncio.Event().wait()
            finally:
                return body, tensors  # noqa: B012  # swallows its cancellation

    client.stub._target = Stubborn()
    call = asyncio.create_task(server.endpoint.call(CLIENT, "m"))
    await turns()
    client.abort()
    with pytest.raises(PeerLost):
        await call
    await turns()
    assert [w for w in warnings(caplog) if "could not answer yaml_fed_server" in w]


async def test_calls_of_a_lost_caller_are_cancelled(world):
    server, first, second = await world.server(), await world.client(1), await world.client(2)
    calls = [asyncio.create_task(node.endpoint.call(SERVER, "hold")) for node in (first, second)]
    await server.target.held.wait()
    await turns()
    first.abort()
    with pytest.raises(ConnectionClosed):
        await calls[0]
    await turns()
    assert server.target.cancelled == 1
    server.target.release.set()
    await calls[1]


async def test_a_call_whose_caller_is_lost_before_it_begins_is_not_counted_for_ever(world):
    server, client = await world.server(max_calls=1), await world.client()
    client.comm.send_business_message(Message(Kind.RPC_REQUEST, CLIENT, SERVER, "hold", correlation_id=1))
    assert len(server.stub._running) == 1
    client.abort()
    await turns()
    assert server.stub._running == {}
    assert server.target.nodes == [], "it never began"


async def test_a_node_that_comes_back_with_the_same_call_number_disturbs_nothing(world):
    server, client = await world.server(), await world.client()
    unwound = asyncio.Event()

    class Slow:
        async def call(self, method, body, tensors):
            if body == "old":
                try:
                    await asyncio.Event().wait()
                finally:
                    await unwound.wait()
            await asyncio.sleep(0)
            return body, tensors

    server.stub._target = Slow()
    client.comm.send_business_message(Message(Kind.RPC_REQUEST, CLIENT, SERVER, "m", "old", correlation_id=1))
    await turns()
    client.abort()
    await client.comm.register_client(SERVER)
    again = asyncio.create_task(client.endpoint.call(SERVER, "m", "new"))
    await asyncio.sleep(0)
    assert len(server.stub._running) == 2
    unwound.set()
    assert (await again).body == "new"
    await turns()
    assert server.stub._running == {}


async def test_closing_cancels_what_runs_and_refuses_what_comes(world):
    server, client = await world.server(), await world.client()
    call = asyncio.create_task(server.endpoint.call(CLIENT, "hold"))
    await client.target.held.wait()
    await client.stub.close()
    assert client.target.cancelled == 1
    assert client.stub._running == {}
    with pytest.raises(RemoteError, match="was closed during the call") as raised:
        await call
    assert raised.value.type_name == "ConnectionClosed"
    with pytest.raises(RemoteError, match="is closing") as raised:
        await server.endpoint.call(CLIENT, "echo", deadline_s=5)
    assert raised.value.type_name == "ConnectionClosed"


async def test_a_request_that_closes_its_own_stub_is_answered(world):
    server, client = await world.server(), await world.client()

    class Closing:
        async def call(self, method, body, tensors):
            await client.stub.close()
            return "closed", None

    client.stub._target = Closing()
    assert (await server.endpoint.call(CLIENT, "m", deadline_s=5)).body == "closed"
    assert client.stub._running == {}


async def test_closing_answers_no_request_that_is_cancelled_already(world, caplog):
    server, client = await world.server(), await world.client()
    call = asyncio.create_task(server.endpoint.call(CLIENT, "hold"))
    await client.target.held.wait()
    client.abort()
    await client.stub.close()
    with pytest.raises(PeerLost):
        await call
    assert warnings(caplog) == []


async def test_each_request_has_a_context_of_its_own(world):
    server, client = await world.server(), await world.client()
    variable = contextvars.ContextVar("variable", default="unset")

    class Setting:
        async def call(self, method, body, tensors):
            before = variable.get()
            variable.set(body)
            await asyncio.sleep(0)
            return [before, variable.get(), current_node.get()], None

    client.stub._target = Setting()
    answers = await asyncio.gather(*(server.endpoint.call(CLIENT, "m", n) for n in range(2)))
    assert [answer.body for answer in answers] == [["unset", 0, CLIENT], ["unset", 1, CLIENT]]


async def test_notifications_and_pushes_reach_the_target_as_its_node(world, model):
    server, client = await world.server(), await world.client()
    await server.stub.push(CLIENT, model(3)).applied
    receipt = server.comm.send_business_message(
        Message(Kind.CLIENT_NOTIFY, SERVER, CLIENT, "phase", {"n": [1]})
    )
    await receipt.applied
    with_model = Message(Kind.CLIENT_NOTIFY, SERVER, CLIENT, "weights", tensors=model(4))
    await server.comm.send_business_message(with_model).applied
    assert client.target.models == [model(3)]
    assert client.target.events == [("phase", {"n": [1]}), ("weights", model(4))]
    assert set(client.target.nodes) == {CLIENT}
    assert current_node.get() == "", "the test's own code is no node"


async def test_a_model_of_another_event_is_an_event(world, model):
    server, client = await world.server(), await world.client()
    await server.stub.push(CLIENT, model(9), "teacher").applied
    assert client.target.models == []
    assert client.target.events == [("teacher", model(9))]


async def test_a_push_without_a_model_changes_nothing(world):
    server, client = await world.server(), await world.client()
    await server.comm.send_business_message(Message(Kind.MODEL_PUSH, SERVER, CLIENT, "model")).applied
    assert client.target.models == []
