import asyncio
import math
import time

import pytest

from fedbench.errors import DeadlineExceeded, LocalProtocolError, RemoteError
from fedbench.messages import Kind, Message
from fedbench.values import RoundInfo
from tests.pace import limit_s


@pytest.fixture
def proxy(nodes):
    return nodes.learners()[1]


@pytest.fixture
def learner(nodes):
    return nodes._clients["yaml_client_2"].dispatcher.learner


def call(proxy, method, *, deadline_s=None):
    return proxy.call(Kind.RPC_REQUEST, method, {"args": [], "kwargs": {}}, None, deadline_s)


async def test_train_evaluate_and_ping(proxy, model):
    assert (proxy.client_id, proxy.index) == ("yaml_client_2", 1)
    result = await proxy.train(model(3), RoundInfo(2, 5, 0))
    assert result.model["w"].tolist() == [3, 4, 5, 6]
    assert (result.num_examples, result.metrics) == (5, {"loss": 0.5})
    assert await proxy.evaluate(model()) == {"sum": 6.0}
    assert await proxy.ping({"n": [1]}, deadline_s=5) == {"n": [1]}
    assert await proxy.ping() is None


async def test_push_returns_when_the_model_is_applied(proxy, learner, model):
    await proxy.push(model(3))
    assert learner.versions == [3]
    assert learner.nodes == ["yaml_client_2"], "handlers run as their node"


async def test_notify_returns_at_once(proxy, learner):
    proxy.notify("phase", {"n": 1})
    assert learner.events == []
    await proxy.ping()
    assert learner.events == [("phase", {"n": 1})]


async def test_what_the_learner_raises_is_a_remote_error(proxy, learner, model):
    with pytest.raises(RemoteError) as raised:
        await call(proxy, "fail")
    error = raised.value
    assert (error.node_id, error.type_name, error.message) == (
        "yaml_client_2",
        "ZeroDivisionError",
        "by zero",
    )
    assert error.traceback_text.rstrip().endswith("ZeroDivisionError: by zero")
    learner.refuse = ValueError("no model")
    with pytest.raises(RemoteError, match="ValueError: no model"):
        await proxy.push(model(1))


async def test_no_answer_in_time(proxy):
    with pytest.raises(DeadlineExceeded, match=r"yaml_client_2 did not answer hold within 0\.01 s"):
        await call(proxy, "hold", deadline_s=0.01)


async def test_a_lost_client_is_known_only_by_the_deadline(nodes, proxy):
    nodes.lose("yaml_client_2")
    with pytest.raises(DeadlineExceeded):
        await proxy.ping(deadline_s=0.01)


@pytest.mark.parametrize("deadline_s", [-1.0, math.nan])
async def test_a_deadline_that_is_none(proxy, deadline_s):
    with pytest.raises(ValueError, match="must be at least 0"):
        await proxy.ping(deadline_s=deadline_s)
    assert await proxy.ping("next", deadline_s=math.inf) == "next"


async def test_a_request_that_nobody_waits_for_is_withdrawn(nodes, proxy, learner, model):
    nodes.mail.put(Message(Kind.RPC_REQUEST, "hub", "yaml_client_2", "hold"))
    await learner.holding.wait()
    with pytest.raises(DeadlineExceeded):
        await proxy.push(model(3), deadline_s=0.01)
    assert nodes.mail.look("yaml_client_2", "hub") is None
    learner.go.set()
    assert await proxy.ping("next") == "next"
    assert learner.versions == []


async def test_mail_for_a_lost_client_does_not_pile_up(nodes, proxy):
    nodes.lose("yaml_client_2")
    for n in range(3):
        proxy.notify("phase", n)
    assert nodes.mail.look("yaml_client_2", "hub") is None


async def test_an_answer_that_comes_too_late_is_dropped(proxy, learner):
    with pytest.raises(DeadlineExceeded):
        await call(proxy, "hold", deadline_s=0.01)
    learner.go.set()
    assert await proxy.ping("mine") == "mine"


async def test_the_answer_to_a_call_that_was_cancelled_is_dropped(proxy, learner):
    cancelled = asyncio.create_task(call(proxy, "hold"))
    await learner.holding.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    learner.go.set()
    assert await proxy.ping("mine") == "mine"


async def test_calls_wait_for_their_turn(proxy):
    assert await asyncio.gather(*(proxy.ping(n) for n in range(5))) == [0, 1, 2, 3, 4]


async def test_waiting_for_the_turn_counts_towards_the_deadline(proxy, learner):
    first = asyncio.create_task(call(proxy, "hold"))
    await learner.holding.wait()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"did not answer ping within 0\.02 s"):
        await proxy.ping(deadline_s=0.02)
    assert time.monotonic() - began < limit_s(5)
    learner.go.set()
    assert (await first).body == "held"


async def test_a_body_that_is_not_plain_data(proxy):
    with pytest.raises(LocalProtocolError):
        await proxy.ping(object())
    assert await proxy.ping("next") == "next"
