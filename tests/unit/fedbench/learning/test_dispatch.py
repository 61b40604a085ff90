"""The dispatcher runs each method where it belongs and lets through only what is allowed."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from fedbench.errors import LocalProtocolError
from fedbench.ids import current_node
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import Learner
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, RoundInfo, TrainResult, round_to_body

CLIENT = ClientInfo("c", 0, 1, 7)
ROUND = round_to_body(RoundInfo(1, 2, 3))


def model(value=0.0, version=0):
    return ModelState.from_arrays({"w": np.array([value], np.float32)}, version)


class Sync(Learner):
    """Methods as plain ``def``; remembers the threads and nodes they ran in."""

    def __init__(self, client, **args):
        super().__init__(client, **args)
        self.threads, self.nodes, self.taken = [], [], []
        self.entered, self.release = threading.Event(), threading.Event()

    def _note(self):
        self.threads.append(threading.current_thread())
        self.nodes.append(current_node.get())

    def initial_model(self):
        return model(5.0)

    def train(self, given, round_info):
        self._note()
        draft = given.draft(copy=True)
        draft["w"] += round_info.seed
        return TrainResult(draft.freeze(), np.int64(4), {"loss": np.float32(0.5)})

    def evaluate(self, given):
        self._note()
        return {"accuracy": np.float32(given["w"][0])}

    def on_model_update(self, given, version):
        self._note()
        self.taken.append((given, version))

    def on_event(self, event_type, data):
        self._note()
        self.taken.append((event_type, data))

    def describe(self, *args, **kwargs):
        return [list(args), kwargs]

    def block(self):
        self.taken.append("began")
        self.entered.set()
        self.release.wait(10)
        return "done"

    def fail(self):
        raise KeyError("broken")


class Async(Learner):
    """Methods as ``async def``; remembers the threads they ran in."""

    def __init__(self, client):
        super().__init__(client)
        self.threads, self.error, self.gate = [], None, asyncio.Event()

    async def initial_model(self):
        return model()

    async def train(self, given, round_info):
        self.threads.append(threading.current_thread())
        await asyncio.sleep(0)
        return TrainResult(given, 1)

    async def evaluate(self, given):
        return {}

    async def on_model_update(self, given, version):
        await self.gate.wait()
        if self.error is not None:
            raise self.error


class Plain(Learner):
    """Overrides no hook."""

    def initial_model(self):
        return model()

    def train(self, given, round_info):
        return given

    def evaluate(self, given):
        return [0.5]


@pytest.fixture
async def sync():
    dispatcher = LearnerDispatcher(
        Sync(CLIENT), "node", ["train", "evaluate", "describe", "block", "fail", "initial_model"]
    )
    yield dispatcher
    dispatcher.learner.release.set()
    await dispatcher.close()


async def test_train_and_evaluate_answer_with_plain_data(sync):
    body, update = await sync.call("train", ROUND, model(1.0))
    assert body == {"num_examples": 4, "metrics": {"loss": 0.5}}
    assert [type(body["num_examples"]), type(body["metrics"]["loss"])] == [int, float]
    assert update["w"].tolist() == [4.0]
    assert update.version == 1
    body, nothing = await sync.call("evaluate", None, model(0.25))
    assert (body, nothing) == ({"accuracy": 0.25}, None)
    assert type(body["accuracy"]) is float


async def test_plain_methods_share_one_thread_and_know_their_node(sync):
    token = current_node.set("here")
    try:
        await asyncio.gather(
            *(sync.call("train", ROUND, model()) for _ in range(3)), sync.call("evaluate", None, model())
        )
        await sync.model_update(model(version=1))
        await sync.event("e", 1)
    finally:
        current_node.reset(token)
    assert len(set(sync.learner.threads)) == 1
    assert sync.learner.threads[0] is not threading.current_thread()
    assert sync.learner.threads[0].name.startswith("node")
    assert sync.learner.nodes == ["here"] * 6


async def test_async_methods_run_in_the_loop_and_start_no_thread():
    dispatcher = LearnerDispatcher(Async(CLIENT), "node")
    given = model(2.0)
    threads = threading.active_count()
    assert await dispatcher.call("train", ROUND, given) == ({"num_examples": 1, "metrics": {}}, given)
    assert dispatcher.learner.threads == [threading.current_thread()]
    assert threading.active_count() == threads
    await dispatcher.close()


async def test_ping_echoes_without_a_hop():
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node")
    body, tensors = {"x": [1]}, model()
    with pytest.raises(StopIteration) as stop:
        dispatcher.call("ping", body, tensors).send(None)  # the first step is the last
    assert stop.value.value == (body, tensors)
    assert stop.value.value[0] is body


async def test_models_are_set_whatever_their_version_and_handed_back():
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node")
    with pytest.raises(LookupError, match="node has no model yet"):
        await dispatcher.call("get_model", None, None)
    newer, older = model(version=5), model(version=2)
    for given in (newer, older):
        assert await dispatcher.call("set_model", None, given) == (None, None)
        assert (await dispatcher.call("get_model", None, None))[1] is given
    assert dispatcher.current_model is older


async def test_own_methods_take_arguments_and_a_model(sync):
    given = model()
    body = {"args": [1, "a"], "kwargs": {"k": 2}}
    assert await sync.call("describe", body, None) == ([[1, "a"], {"k": 2}], None)
    assert await sync.call("describe", None, given) == ([[], {"model": given}], None)
    assert (await sync.call("initial_model", {"args": [], "kwargs": {}}, None))[1] == model(5.0)
    assert (await sync.call("initial_model", None, None))[0] is None


@pytest.mark.parametrize("body", [3, {"args": []}, {"args": 1, "kwargs": {}}, {"args": [], "kwargs": 3}, []])
async def test_malformed_arguments_are_refused(sync, body):
    with pytest.raises(ValueError, match="does not hold the arguments of describe: args and kwargs"):
        await sync.call("describe", body, None)


@pytest.mark.parametrize(
    "method", ["ping", "get_model", "on_event", "client", "_note", "__init__", "nothing"]
)
async def test_what_is_not_allowed_is_refused_and_what_is_allowed_named(method, sync):
    with pytest.raises(
        PermissionError, match=f"node does not allow '{method}': .* are train, evaluate, describe"
    ):
        await sync.call(method, None, None)


async def test_nothing_may_be_allowed():
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node", [])
    with pytest.raises(PermissionError, match="allowed_methods are empty"):
        await dispatcher.call("ping", None, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("_note", "'_note' cannot be allowed: it is private"),
        ("trian", "'trian' cannot be allowed: Sync has no such method"),
        ("client", "'client' cannot be allowed"),
    ],
)
def test_a_method_that_cannot_be_called_cannot_be_allowed(name, message):
    with pytest.raises(ValueError, match=message):
        LearnerDispatcher(Sync(CLIENT), "node", ["train", name])


@pytest.mark.parametrize("method", ["train", "evaluate", "set_model"])
async def test_methods_that_need_a_model_say_so(method):
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node")
    with pytest.raises(ValueError, match=f"{method} needs a model and got none"):
        await dispatcher.call(method, ROUND, None)


async def test_train_needs_a_round():
    with pytest.raises(ValueError, match="does not describe a round"):
        await LearnerDispatcher(Plain(CLIENT), "node").call("train", None, model())


async def test_a_learner_that_returns_something_else_is_told():
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node")
    with pytest.raises(TypeError, match=r"train returned a fedbench\..*ModelState: return a TrainResult"):
        await dispatcher.call("train", ROUND, model())
    with pytest.raises(TypeError, match=r"evaluate returned a builtins\.list as metrics"):
        await dispatcher.call("evaluate", None, model())
    await dispatcher.close()


async def test_exceptions_of_the_learner_reach_the_caller(sync):
    with pytest.raises(KeyError, match="broken"):
        await sync.call("fail", None, None)


async def test_only_newer_pushed_models_are_taken(sync):
    first, second = model(1.0, 1), model(2.0, 3)
    await sync.model_update(first)
    await sync.model_update(second)
    assert sync.model_update(model(9.0, 3)) is None
    assert sync.model_update(model(9.0, 2)) is None
    assert sync.stale == 2
    assert sync.current_model is second
    assert sync.learner.taken == [(first, 1), (second, 3)]


async def test_a_learner_without_hooks_costs_neither_a_thread_nor_a_task():
    dispatcher = LearnerDispatcher(Plain(CLIENT), "node")
    threads = threading.active_count()
    assert dispatcher.model_update(model(version=1)) is None
    assert dispatcher.current_model.version == 1
    await dispatcher.event("e", None)
    assert threading.active_count() == threads
    await dispatcher.close()


async def test_a_model_that_was_not_applied_may_be_pushed_again():
    dispatcher = LearnerDispatcher(Async(CLIENT), "node")
    learner = dispatcher.learner
    learner.gate.set()
    before, pushed = model(version=1), model(version=2)
    await dispatcher.model_update(before)
    learner.error = RuntimeError("no room")
    with pytest.raises(RuntimeError, match="no room"):
        await dispatcher.model_update(pushed)
    assert dispatcher.current_model is before
    learner.error = None
    await dispatcher.model_update(pushed)
    assert dispatcher.current_model is pushed
    assert dispatcher.stale == 0


async def test_a_failing_older_update_does_not_undo_a_newer_one():
    dispatcher = LearnerDispatcher(Async(CLIENT), "node")
    older = asyncio.create_task(dispatcher.model_update(model(version=1)))
    await asyncio.sleep(0)
    newer = model(version=2)
    later = asyncio.create_task(dispatcher.model_update(newer))
    await asyncio.sleep(0)
    older.cancel()
    dispatcher.learner.gate.set()
    await later
    with pytest.raises(asyncio.CancelledError):
        await older
    assert dispatcher.current_model is newer


async def test_events_reach_the_learner(sync):
    await sync.event("lunch", {"at": 12})
    assert sync.learner.taken == [("lunch", {"at": 12})]


async def entered(learner):
    while not learner.entered.is_set():
        await asyncio.sleep(0.001)


async def test_close_waits_for_what_runs_and_drops_what_waits(sync):
    learner = sync.learner
    running = asyncio.create_task(sync.call("block", None, None))
    await entered(learner)
    waiting = asyncio.create_task(sync.call("block", None, None))
    await asyncio.sleep(0)
    closing = asyncio.create_task(sync.close())
    await asyncio.sleep(0.02)
    assert not closing.done()  # and the loop went on meanwhile
    learner.release.set()
    await closing
    assert await running == ("done", None)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert learner.taken == ["began"]


async def test_a_cancelled_call_that_waited_for_the_thread_never_begins(sync):
    learner = sync.learner
    running = asyncio.create_task(sync.call("block", None, None))
    await entered(learner)
    waiting = asyncio.create_task(sync.call("block", None, None))
    await asyncio.sleep(0)
    for task in (waiting, running):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    learner.release.set()
    await sync.close()
    assert learner.taken == ["began"]


async def test_close_is_idempotent_and_final(sync):
    await sync.close()
    await sync.close()
    with pytest.raises(LocalProtocolError, match="node is closed"):
        await sync.call("train", ROUND, model())
