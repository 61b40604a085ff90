import asyncio
import logging
import threading

import numpy as np
import pytest

from fedbench.config import from_mapping
from fedbench.errors import DeadlineExceeded, PeerLost, RegistrationError, RemoteError
from fedbench.ids import current_node
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import Learner
from fedbench.push import PushNodes
from fedbench.rpc.proxy import LearnerProxy
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, RoundInfo, TrainResult
from tests.leaks import pending_tasks


def make_model(version=0):
    return ModelState.from_arrays({"w": np.arange(4, dtype=np.float32)}, version)


class Recorder(Learner):
    """Adds its number to the model, records what it is told; ``hold`` and pushed models wait for ``go``."""

    def __init__(self, client):
        super().__init__(client)
        self.versions, self.nodes, self.events = [], [], []
        self.go = asyncio.Event()
        self.go.set()
        self.refuse = None

    def initial_model(self):
        return make_model()

    def train(self, model, round_info):
        self.nodes.append(current_node.get())
        draft = model.draft(copy=True)
        draft["w"] += self.client.index + round_info.number
        return TrainResult(draft.freeze(), 5, {"loss": 0.5})

    async def evaluate(self, model):
        return {"sum": float(model["w"].sum())}

    async def on_model_update(self, model, version):
        if self.refuse is not None:
            raise self.refuse
        await self.go.wait()
        self.versions.append(version)

    async def on_event(self, event_type, data):
        self.events.append((event_type, data))

    async def hold(self):
        await self.go.wait()
        return "held"


def build(clients=2):
    config = from_mapping(
        {
            "server": {"server_id": "hub"},
            "clients": {"count": clients, "rpc": {"allowed_methods": ["train", "evaluate", "ping", "hold"]}},
        }
    )
    dispatchers = [
        LearnerDispatcher(Recorder(ClientInfo(c.client_id, i, clients, 0)), c.client_id, c.allowed_methods)
        for i, c in enumerate(config.clients)
    ]
    nodes = PushNodes(config, dispatchers)
    nodes.recorders = [dispatcher.learner for dispatcher in dispatchers]
    return nodes


@pytest.fixture
async def nodes():
    made = build()
    await made.start()
    yield made
    await made.stop()


def learner_threads():
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("yaml_client_") and "-close" not in thread.name
    ]


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_clients_register_and_subscribe_in_the_order_of_the_configuration(caplog):
    caplog.set_level(logging.INFO, "fedbench")
    nodes = build(3)
    assert nodes.learners() == []
    await nodes.start()
    assert [(proxy.client_id, proxy.index) for proxy in nodes.learners()] == [
        (f"yaml_client_{n + 1}", n) for n in range(3)
    ]
    assert list(nodes.side.stub.subscribers["model"]) == list(nodes.clients)
    await nodes.stop()


async def test_each_client_trains_as_its_node(nodes):
    results = await asyncio.gather(
        *(proxy.train(make_model(), RoundInfo(1, 1, 0)) for proxy in nodes.learners())
    )
    assert [result.model["w"].tolist() for result in results] == [[1, 2, 3, 4], [2, 3, 4, 5]]
    assert [recorder.nodes for recorder in nodes.recorders] == [["yaml_client_1"], ["yaml_client_2"]]


async def test_a_published_model_comes_with_the_call_that_follows_at_once(nodes):
    first, second = nodes.learners()
    model = make_model(1)
    publishing = nodes.publish(model)
    training = first.begin_train(model, RoundInfo(1, 1, 0))
    told = await publishing
    result = await training
    assert result.model["w"].tolist() == [1, 2, 3, 4]
    assert told == {second.client_id: None}
    assert [recorder.versions for recorder in nodes.recorders] == [[1], [1]]
    counts = nodes.side.comm.connections.router.counts()
    pushed = [counts[f"hub->{client_id}"].get("model_push", 0) for client_id in nodes.clients]
    assert pushed == [0, 1]
    assert nodes.side.global_model.model is model


async def test_a_published_model_that_no_call_carries_is_pushed_to_all(nodes):
    assert await nodes.publish(make_model(1)) == dict.fromkeys(nodes.clients)
    result = await nodes.learners()[0].train(make_model(1), RoundInfo(1, 1, 0))
    assert result.num_examples == 5
    assert [recorder.versions for recorder in nodes.recorders] == [[1], [1]]


async def test_a_client_that_does_not_take_the_model_of_its_call_warns_and_trains_on(nodes, caplog):
    nodes.recorders[0].refuse = OSError("disk full")
    model = make_model(1)
    publishing = nodes.publish(model)
    training = [proxy.begin_train(model, RoundInfo(1, 1, 0)) for proxy in nodes.learners()]
    await publishing
    results = await asyncio.gather(*training)
    assert len(results) == 2
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["yaml_client_1: a handler of model_push from hub raised OSError: disk full"]
    assert [recorder.versions for recorder in nodes.recorders] == [[], [1]]


async def test_who_listens_for_pushes_hears_of_the_model_of_a_call(nodes):
    client = nodes.clients["yaml_client_1"]
    server, heard = LearnerProxy(client.comm, "hub"), []
    server.on_push(lambda event, model: heard.append((event, model.version)))
    model = make_model(1)
    publishing = nodes.publish(model)
    training = [proxy.begin_train(model, RoundInfo(1, 1, 0)) for proxy in nodes.learners()]
    await publishing
    await asyncio.gather(*training)
    assert heard == [("model", 1)]
    assert (await server.wait_model()).version == 1


async def test_a_model_is_not_handed_to_who_has_unsubscribed(nodes):
    first, _ = nodes.learners()
    await LearnerProxy(nodes.clients["yaml_client_1"].comm, "hub").unsubscribe_model_updates()
    model = make_model(1)
    publishing = nodes.publish(model)
    training = first.begin_train(model, RoundInfo(1, 1, 0))
    await publishing
    await training
    assert [recorder.versions for recorder in nodes.recorders] == [[], [1]]


async def test_broadcast_makes_the_model_global_and_waits_until_it_is_applied(nodes):
    nodes.recorders[0].go.clear()
    broadcast = asyncio.create_task(nodes.broadcast(make_model(1)))
    await turns()
    assert not broadcast.done()
    nodes.recorders[0].go.set()
    assert await broadcast == {"yaml_client_1": None, "yaml_client_2": None}
    assert [recorder.versions for recorder in nodes.recorders] == [[1], [1]]
    assert await LearnerProxy(nodes.clients["yaml_client_2"].comm, "hub").get_model() == make_model(1)


async def test_one_client_that_raises_or_is_late_does_not_stop_the_others():
    nodes = build(3)
    await nodes.start()
    nodes.recorders[0].refuse = ZeroDivisionError("no")
    nodes.recorders[1].go.clear()
    outcomes = await nodes.broadcast(make_model(1), deadline_s=0.02)
    assert [type(outcome) for outcome in outcomes.values()] == [RemoteError, DeadlineExceeded, type(None)]
    await nodes.stop()


async def test_notifications_reach_the_learner(nodes):
    await nodes.learners()[1].notify("phase", {"n": 1}).applied
    assert nodes.recorders[1].events == [("phase", {"n": 1})]


async def test_a_lost_client_is_told_of_at_once(nodes, caplog):
    nodes.recorders[0].go.clear()
    call = asyncio.create_task(nodes.learners()[0].call_remote_method("hold"))
    await turns()
    nodes.lose("yaml_client_1")
    with pytest.raises(PeerLost):
        await call
    assert [proxy.client_id for proxy in nodes.learners()] == ["yaml_client_2"]
    assert await nodes.broadcast(make_model(1)) == {"yaml_client_2": None}
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "hub lost client yaml_client_1: its node ended without closing"
    ]
    for unknown in ("yaml_client_1", "nobody"):
        with pytest.raises(KeyError):
            nodes.lose(unknown)


async def test_an_idle_federation_does_nothing(nodes, caplog):
    caplog.set_level(logging.DEBUG)
    before = asyncio.all_tasks()
    await asyncio.sleep(0.03)
    assert [r for r in caplog.records if r.name.startswith("fedbench")] == []
    assert asyncio.all_tasks() == before, "no task waits or polls"
    assert len(before) <= 1


async def test_stop_leaves_no_task_and_no_thread_and_is_no_news(caplog):
    nodes = build()
    await nodes.start()
    await asyncio.gather(*(proxy.train(make_model(), RoundInfo(1, 1, 0)) for proxy in nodes.learners()))
    assert len(learner_threads()) == 2, "plain methods have a thread"
    await nodes.stop()
    assert pending_tasks() == []
    assert learner_threads() == []
    assert nodes.learners() == []
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    await nodes.stop()


async def test_stop_ends_calls_that_still_run():
    nodes = build(1)
    await nodes.start()
    nodes.recorders[0].go.clear()
    call = asyncio.create_task(nodes.learners()[0].call_remote_method("hold"))
    await turns()
    await nodes.stop()
    with pytest.raises(RemoteError, match="was closed during the call"):
        await call


async def test_nodes_that_were_never_started_can_be_stopped():
    await build().stop()


def test_a_server_tells_its_clients_who_they_are_and_refuses_others():
    nodes = build(3)
    introduce = nodes.side.comm.control.introduce
    assert introduce("yaml_client_2") == {"index": 1, "count": 3, "seed": 0}
    with pytest.raises(RegistrationError, match="stranger is no client of this federation"):
        introduce("stranger")
