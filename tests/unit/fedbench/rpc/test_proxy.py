import asyncio
import gc
import logging
from collections import Counter
from types import MappingProxyType

import pytest

from fedbench.errors import DeadlineExceeded, PeerLost, RemoteError, RoutingError
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.proxy import LearnerProxy
from fedbench.values import RoundInfo, TrainResult

SERVER, CLIENT = "yaml_fed_server", "yaml_client_1"


class Methods:
    """A learner's side of calls, as its dispatcher answers them; records what arrives."""

    at_once = MappingProxyType({})

    def __init__(self):
        self.seen = []
        self.events = []

    async def call(self, method, body, tensors):
        self.seen.append((method, body, tensors))
        if method == "train":
            return {"num_examples": 8, "metrics": {"loss": 0.5}}, tensors.with_version(tensors.version + 1)
        if method == "evaluate":
            return {"accuracy": 0.75}, None
        if method == "get_model":
            return None, self.seen[0][2]
        return body, tensors

    async def model_update(self, model):
        self.seen.append(("push", None, model))
        return True

    async def event(self, event_type, data):
        self.events.append((event_type, data))


@pytest.fixture
async def proxy(world):
    """The server's proxy of a client; ``proxy.target`` is what the client answers with."""
    server, client = await world.server(), await world.client(target=Methods())
    proxy = LearnerProxy(server.comm, CLIENT, index=3)
    proxy.target = client.target
    return proxy


@pytest.fixture
async def ends(world):
    """A server and a client's subscribed proxy of it."""
    server, client = await world.server(GlobalModel()), await world.client()
    proxy = LearnerProxy(client.comm, SERVER)
    await proxy.subscribe_model_updates()
    return server, proxy


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


# Calls -----------------------------------------------------------------------------------------------------


async def test_it_says_whom_it_stands_for(proxy):
    assert (proxy.client_id, proxy.index, proxy.stale) == (CLIENT, 3, 0)


async def test_train(proxy, model):
    result = await proxy.train(model(4), RoundInfo(2, 20, 77), deadline_s=5)
    assert result == TrainResult(model(5), 8, {"loss": 0.5})
    assert proxy.target.seen == [("train", {"number": 2, "total": 20, "seed": 77}, model(4))]


async def test_evaluate_set_model_get_model_and_ping(proxy, model):
    await proxy.set_model(model(9))
    assert await proxy.evaluate(model(1)) == {"accuracy": 0.75}
    assert await proxy.get_model() == model(9)
    assert await proxy.ping([1, "two"]) == [1, "two"]
    assert [method for method, _, _ in proxy.target.seen] == ["set_model", "evaluate", "get_model", "ping"]


async def test_call_remote_method_carries_args_kwargs_and_a_model(proxy, model):
    assert await proxy.call_remote_method("own", 1, "two", flag=True) == {
        "args": [1, "two"],
        "kwargs": {"flag": True},
    }
    assert await proxy.call_remote_method("own", model=model(2), deadline_s=5) == model(2)
    assert proxy.target.seen[1] == ("own", {"args": [], "kwargs": {}}, model(2))


async def test_calls_raise_what_the_endpoint_raises(world, proxy):
    await world.client(2)
    with pytest.raises(RoutingError):
        await LearnerProxy(proxy._comm, "nobody").ping()
    held = LearnerProxy(proxy._comm, "yaml_client_2")
    with pytest.raises(DeadlineExceeded):
        await held.call_remote_method("hold", deadline_s=0.01)
    with pytest.raises(RemoteError, match="by zero"):
        await held.call_remote_method("raise")


# Pushing ---------------------------------------------------------------------------------------------------


async def test_push_model_and_notify(proxy, model):
    await proxy.push_model(model(1)).applied
    await proxy.notify("phase", {"n": 1}, intended_ns=5).applied
    assert proxy.target.seen == [("push", None, model(1))]
    assert proxy.target.events == [("phase", {"n": 1})]


# Pushed models ---------------------------------------------------------------------------------------------


async def test_on_push_is_called_with_every_newer_model(ends, model):
    server, proxy = ends
    seen = []
    remove = proxy.on_push(lambda event, pushed: seen.append((event, pushed)))
    await server.stub.broadcast_model(model(1))
    await server.stub.push(CLIENT, model(2), "best").applied
    assert seen == [("model", model(1)), ("best", model(2))]
    remove()
    remove()
    await server.stub.broadcast_model(model(3))
    assert len(seen) == 2


async def test_the_push_is_acknowledged_when_the_handlers_have_returned(ends, model):
    server, proxy = ends
    go = asyncio.Event()

    async def slow(event, pushed):
        await go.wait()

    proxy.on_push(slow)
    broadcast = asyncio.create_task(server.stub.broadcast_model(model(1)))
    await turns()
    assert not broadcast.done()
    go.set()
    assert await broadcast == {CLIENT: None}


async def test_a_handler_that_raises_is_reported_to_the_server(ends, model):
    server, proxy = ends

    def bad(event, pushed):
        raise ZeroDivisionError("no")

    proxy.on_push(bad)
    outcomes = await server.stub.broadcast_model(model(1))
    assert isinstance(outcomes[CLIENT], RemoteError)


async def test_stale_and_duplicate_versions_are_dropped_and_counted(ends, model):
    server, proxy = ends
    seen = []
    proxy.on_push(lambda event, pushed: seen.append(pushed.version))
    for version in (0, 2, 2, 1, 0, 3):
        await server.stub.broadcast_model(model(version))
    assert seen == [0, 2, 3]
    assert proxy.stale == 3


async def test_pushes_of_others_are_not_its_business(world, model):
    server, first, second = await world.server(), await world.client(1), await world.client(2)
    proxies = [LearnerProxy(server.comm, node.comm.node_id) for node in (first, second)]
    seen = [[], []]
    for proxy, models in zip(proxies, seen, strict=True):
        proxy.on_push(lambda event, pushed, models=models: models.append(pushed.version))
    await LearnerProxy(second.comm, SERVER).push_model(model(4)).applied
    assert seen == [[], [4]]
    assert [proxy.stale for proxy in proxies] == [0, 0]


async def test_subscribing_is_idempotent(ends, model):
    server, proxy = ends
    seen = []

    def handler(event, pushed):
        seen.append(pushed.version)

    for _ in range(2):
        await proxy.subscribe_model_updates(handler, deadline_s=5)
    await server.stub.broadcast_model(model(1))
    assert seen == [1]


async def test_a_subscription_to_another_event(ends, model):
    server, proxy = ends
    await proxy.subscribe_model_updates(event_type="best")
    assert await server.stub.broadcast_model(model(1), "best") == {CLIENT: None}
    for _ in range(2):
        await proxy.unsubscribe_model_updates("best")
    assert await server.stub.broadcast_model(model(2), "best") == {}


async def test_models_of_another_event_have_versions_of_their_own(ends, model):
    server, proxy = ends
    seen = []
    proxy.on_push(lambda event, pushed: seen.append((event, pushed.version)))
    for event, version in (("best", 9), ("model", 1), ("best", 2)):
        await server.stub.push(CLIENT, model(version), event).applied
    assert seen == [("best", 9), ("model", 1), ("best", 2)]
    assert await proxy.wait_model() == model(1)
    assert proxy.stale == 0


# Waiting for a model ---------------------------------------------------------------------------------------


async def test_wait_model_returns_what_is_there_or_comes(ends, model):
    server, proxy = ends
    waiting = [asyncio.create_task(proxy.wait_model(newer_than=n)) for n in (-1, 0, 1)]
    await turns()
    await server.stub.broadcast_model(model(0))
    assert await waiting[0] == model(0)
    assert await proxy.wait_model() == model(0)
    await server.stub.broadcast_model(model(1))
    assert await waiting[1] == model(1)
    await turns()
    assert not waiting[2].done()
    await server.stub.broadcast_model(model(7))
    assert (await waiting[2]).version == 7
    assert proxy._waiters == set()


async def test_of_two_models_that_come_at_once_the_newest_is_returned(ends, model):
    server, proxy = ends
    waiting = asyncio.create_task(proxy.wait_model())
    await turns()
    receipts = [server.stub.push(CLIENT, model(version)) for version in (1, 2)]
    assert (await waiting).version == 2
    await asyncio.gather(*(receipt.applied for receipt in receipts))


async def test_wait_model_gives_up_at_its_deadline(ends):
    _, proxy = ends
    with pytest.raises(DeadlineExceeded, match=r"pushed no model newer than version 3 within 0\.01 s"):
        await proxy.wait_model(3, deadline_s=0.01)
    assert proxy._waiters == set()


async def test_cancelling_wait_model_leaves_nothing_behind(ends, model):
    server, proxy = ends
    waiting = [asyncio.create_task(proxy.wait_model()) for _ in range(2)]
    await turns()
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert len(proxy._waiters) == 1
    await server.stub.broadcast_model(model(1))
    assert await waiting[1] == model(1)


async def test_waiters_cancelled_at_the_moment_a_model_comes_disturb_nobody(ends, model):
    server, proxy = ends
    waiting = [asyncio.create_task(proxy.wait_model()) for _ in range(2)]
    await turns()
    next(iter(proxy._waiters)).cancel()
    await server.stub.broadcast_model(model(1))
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 1
    assert model(1) in outcomes


async def test_wait_model_ends_when_the_server_is_lost(world, ends, caplog):
    _, proxy = ends
    waiting = [asyncio.create_task(proxy.wait_model()) for _ in range(3)]
    await turns()
    next(iter(proxy._waiters)).cancel()
    world.nodes[1].abort()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert Counter(map(type, outcomes)) == {PeerLost: 2, asyncio.CancelledError: 1}
    assert {outcome.peer_id for outcome in outcomes if isinstance(outcome, PeerLost)} == {SERVER}
    del outcomes, waiting
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_wait_model_does_not_wait_for_a_server_that_was_lost(world, ends, model):
    server, proxy = ends
    await server.stub.broadcast_model(model(1))
    world.nodes[1].abort()
    assert await proxy.wait_model() == model(1)
    with pytest.raises(PeerLost):
        await proxy.wait_model(newer_than=1)


async def test_losing_another_peer_ends_no_waiting(world, model):
    server, first, second = await world.server(), await world.client(1), await world.client(2)
    proxy = LearnerProxy(server.comm, CLIENT)
    waiting = asyncio.create_task(proxy.wait_model())
    await turns()
    second.abort()
    await turns()
    assert not waiting.done()
    await LearnerProxy(first.comm, SERVER).push_model(model(1)).applied
    assert await waiting == model(1)
