import asyncio
import logging
import threading

import pytest

from fedbench.errors import DeadlineExceeded, RegistrationError, RemoteError
from fedbench.messages import Kind
from fedbench.values import RoundInfo
from tests.fakes.federations import until
from tests.leaks import pending_tasks

ARGS = {"args": [], "kwargs": {}}


def learner_threads():
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("yaml_client_") and "-close" not in thread.name
    ]


def learner(nodes, n):
    return nodes._clients[f"yaml_client_{n}"].dispatcher.learner


async def test_clients_register_in_the_order_of_the_configuration(build, caplog):
    caplog.set_level(logging.INFO, "fedbench.polling")
    nodes = build(3)
    assert nodes.learners() == []
    await nodes.start()
    assert [(proxy.client_id, proxy.index) for proxy in nodes.learners()] == [
        (f"yaml_client_{n + 1}", n) for n in range(3)
    ]
    registered = [r.getMessage() for r in caplog.records if " registered " in r.getMessage()]
    assert registered == [f"hub registered yaml_client_{n}" for n in (1, 2, 3)]
    await nodes.stop()


async def test_each_client_has_its_own_learner(nodes, model):
    results = await asyncio.gather(*(proxy.train(model(), RoundInfo(1, 1, 0)) for proxy in nodes.learners()))
    assert [result.model["w"].tolist() for result in results] == [[1, 2, 3, 4], [2, 3, 4, 5]]


async def test_broadcast_reaches_every_client(nodes, model):
    assert await nodes.broadcast(model(1)) == {"yaml_client_1": None, "yaml_client_2": None}
    assert [learner(nodes, n).versions for n in (1, 2)] == [[1], [1]]
    await nodes.broadcast(model(1))
    assert learner(nodes, 1).versions == [1], "a model that is not newer is dropped"


async def test_one_client_that_raises_does_not_stop_the_others(nodes, model):
    learner(nodes, 1).refuse = ZeroDivisionError("no")
    outcomes = await nodes.broadcast(model(1))
    assert list(outcomes) == ["yaml_client_1", "yaml_client_2"]
    assert isinstance(outcomes["yaml_client_1"], RemoteError)
    assert outcomes["yaml_client_2"] is None
    assert learner(nodes, 2).versions == [1]


async def test_a_lost_client_stays_and_can_only_time_out(nodes, model):
    nodes.lose("yaml_client_1")
    nodes.lose("yaml_client_1")
    assert len(nodes.learners()) == 2
    outcomes = await nodes.broadcast(model(1), deadline_s=0.5)
    assert isinstance(outcomes["yaml_client_1"], DeadlineExceeded)
    assert outcomes["yaml_client_2"] is None
    with pytest.raises(KeyError):
        nodes.lose("nobody")


def messages_of(caplog):
    return [r.getMessage().partition(": ")[2] for r in caplog.records if " -> " in r.getMessage()]


async def test_a_published_model_comes_with_the_call_that_follows_at_once(nodes, model, caplog):
    caplog.set_level(logging.DEBUG, "fedbench.polling")
    first, _ = nodes.learners()
    new = model(1)
    publishing = nodes.publish(new)
    training = asyncio.ensure_future(first.begin_train(new, RoundInfo(1, 1, 0)))
    assert await publishing == {"yaml_client_2": None}
    assert (await training).model["w"].tolist() == [1, 2, 3, 4]
    assert [learner(nodes, n).versions for n in (1, 2)] == [[1], [1]]
    sent = [text for text in messages_of(caplog) if not text.startswith(("rpc_response", "push_ack"))]
    assert sorted(sent) == ["model_push model", "rpc_request train"]


async def test_a_client_that_does_not_take_the_model_of_its_call_warns_and_trains_on(nodes, model, caplog):
    learner(nodes, 1).refuse = OSError("disk full")
    new = model(1)
    publishing = nodes.publish(new)
    results = await asyncio.gather(*(p.begin_train(new, RoundInfo(1, 1, 0)) for p in nodes.learners()))
    assert await publishing == {}
    assert len(results) == 2
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["yaml_client_1: a model from hub raised OSError: disk full"]
    assert [learner(nodes, n).versions for n in (1, 2)] == [[], [1]]


async def test_every_message_leaves_a_debug_record(nodes, caplog):
    caplog.set_level(logging.DEBUG, "fedbench.polling")
    await nodes.learners()[0].ping()
    assert [r.getMessage() for r in caplog.records if " -> " in r.getMessage()] == [
        "hub -> yaml_client_1: rpc_request ping",
        "yaml_client_1 -> hub: rpc_response ",
    ]


async def test_a_client_that_does_not_register_is_named(build, monkeypatch):
    monkeypatch.setattr("fedbench.polling.nodes.REGISTRATION_TIMEOUT_S", 0.01)
    monkeypatch.setattr("fedbench.polling.client.PollingClient.run", lambda *_: asyncio.sleep(0))
    nodes = build(1)
    with pytest.raises(RegistrationError, match="yaml_client_1 did not register"):
        await nodes.start()
    await nodes.stop()


async def test_an_idle_federation_polls_and_warns(build, caplog):
    nodes = build(2, warn_on_timeout=True)
    await nodes.start()
    # Two clients, three servers, a timeout each.
    await until(lambda: sum(r.levelno == logging.WARNING for r in caplog.records) > 6)
    await nodes.stop()


async def test_stop_leaves_no_task_no_thread_and_no_mail(build, model):
    nodes = build(2)
    await nodes.start()
    proxies = nodes.learners()
    await asyncio.gather(*(proxy.train(model(), RoundInfo(1, 1, 0)) for proxy in proxies))
    assert len(pending_tasks()) == 2
    proxies[0].notify("left", "behind")
    await nodes.stop()
    assert pending_tasks() == []
    assert learner_threads() == []
    assert nodes.learners() == []
    assert nodes.mail._boxes == {}
    await nodes.stop()


async def test_stop_ends_a_learner_in_mid_call(build):
    nodes = build(1)
    await nodes.start()
    proxy = nodes.learners()[0]
    proxy.notify("phase")
    ping = asyncio.create_task(proxy.ping(deadline_s=0.05))
    await nodes.stop()
    with pytest.raises(DeadlineExceeded):
        await ping


async def test_nodes_that_were_never_started_can_be_stopped(build):
    await build().stop()


async def test_a_polling_server_looks_for_notifications_once_somebody_wants_them(nodes, caplog):
    heard = []
    learner(nodes, 1).notify_server("early", 1)
    await nodes.learners()[0].ping()
    nodes.on_notify(lambda event, data: heard.append((event, data)))
    learner(nodes, 2).notify_server("late", {"n": 2})
    await until(lambda: heard)
    assert heard == [("late", {"n": 2})], "what came before was dropped by the call that found it"

    async def raising(event, data):
        raise ZeroDivisionError("no")

    nodes.on_notify(raising)
    calling = asyncio.create_task(nodes.learners()[0].call(Kind.RPC_REQUEST, "hold", ARGS, None, None))
    await learner(nodes, 1).holding.wait()
    learner(nodes, 1).notify_server("during", 3)
    await until(lambda: len(heard) == 2)
    learner(nodes, 1).go.set()
    assert (await calling).body == "held", "a call that waits for its answer finds notifications, too"
    await until(lambda: "raised ZeroDivisionError: no" in caplog.text)
    await nodes.stop()
    assert pending_tasks() == []
