import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import numpy as np
import pytest

from fedbench.errors import ConfigError, DeadlineExceeded, RemoteError, TransportError
from fedbench.federation import Federation
from fedbench.tensors.model import ModelState
from fedbench.values import RoundRecord
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.federation import FederationStack

WATCHING = "harness.workloads.learners:WatchingLearner"
SPEC = FederationSpec(
    3,
    WATCHING,
    {"model_bytes": 64},
    {"rounds": 2, "deadline_s": 5.0},
    seed=3,
    methods=("collected", "applied"),
)


@pytest.fixture(params=["push", "polling"])
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[FederationStack]:
    made = FederationStack(request.param, "memory", {})
    await made.start(SPEC)
    yield made
    await made.stop()


def model(version: int) -> ModelState:
    return ModelState.from_arrays({"values": np.full(16, version, np.float32)}, version)


async def test_a_ping_comes_back_from_its_client(stack: FederationStack) -> None:
    payloads = [{"to": client, "values": [1, 2.5, None]} for client in range(3)]
    answers = await asyncio.gather(*(stack.ping(i, p, deadline_s=5.0) for i, p in enumerate(payloads)))
    assert answers == payloads


async def test_notifications_reach_their_client_alone_and_in_order(stack: FederationStack) -> None:
    for number in range(3):
        stack.notify(1, [number], intended_ns=5)
    collected = [await stack.ask(client, "collected") for client in range(3)]
    assert [[data for _, data in events] for events in collected] == [[], [[0], [1], [2]], []]


@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_a_method_is_handed_the_model_it_is_asked_with(architecture: str) -> None:
    stack = FederationStack(architecture, "memory", {})
    await stack.start(FederationSpec(1, "harness.workloads.learners:BouncingLearner", methods=("bounce",)))
    answer = await stack.ask(0, "bounce", model=model(3))
    assert answer["values"].tolist() == [3.0] * 16
    with pytest.raises(RemoteError, match="TypeError"):
        await stack.ask(0, "bounce")
    await stack.stop()


@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_a_method_that_does_not_answer_in_time_is_given_up(architecture: str) -> None:
    stack = FederationStack(architecture, "memory", {})
    late = FederationSpec(1, "harness.workloads.learners:LateLearner", {"slow_s": 60.0}, methods=("late",))
    await stack.start(late)
    with pytest.raises(DeadlineExceeded):
        await stack.ask(0, "late", deadline_s=0.01)
    await stack.stop()


async def test_a_broadcast_returns_when_every_client_has_applied_it(stack: FederationStack) -> None:
    outcomes = await stack.broadcast(model(4))
    assert list(outcomes.values()) == [None, None, None]
    applied = [await stack.ask(client, "applied") for client in range(3)]
    assert applied == [{"versions": [4], "ends": [[4.0, 4.0]]}] * 3


async def test_all_rounds_are_trained_from_the_model_given(stack: FederationStack) -> None:
    rounds: list[RoundRecord] = []
    history = await stack.run(on_round=rounds.append, initial_model=model(7))
    assert [record.number for record in rounds] == [1, 2]
    assert (history.model["values"] == 7).all()


async def test_a_lost_client_answers_no_more_and_the_others_do(stack: FederationStack) -> None:
    stack.lose(1)
    with pytest.raises(TransportError if stack.name == "push" else DeadlineExceeded):
        await stack.ping(1, None, deadline_s=0.1)
    assert await stack.ping(2, "here", deadline_s=5.0) == "here"


async def test_polling_by_http_is_driven_as_in_memory() -> None:
    stack = FederationStack("polling", "network", {"warn_on_timeout": False})
    await stack.start(SPEC)
    try:
        assert await stack.ping(2, b"\0\xff", deadline_s=5.0) == b"\0\xff"
        stack.notify(1, [1, 2.5, None], intended_ns=5)
        collected = await stack.ask(1, "collected")
        assert [data for _, data in collected] == [[1, 2.5, None]]
        assert list((await stack.broadcast(model(4))).values()) == [None, None, None]
        assert ((await stack.run(initial_model=model(7))).model["values"] == 7).all()
    finally:
        await stack.stop()


async def test_a_federation_has_no_floors(stack: FederationStack) -> None:
    with pytest.raises(Unsupported, match=f"{stack.name} has no floor 'hop'"):
        await stack.floor("hop", 1)


@pytest.mark.parametrize("name", ["push", "polling"])
async def test_a_stack_can_be_stopped_twice_and_started_again(name: str) -> None:
    stack = FederationStack(name, "memory", {})
    for clients in (1, 2):
        await stack.start(FederationSpec(clients, WATCHING))
        assert await stack.ping(clients - 1, clients, deadline_s=5.0) == clients
        await stack.stop()
        await stack.stop()


@pytest.mark.parametrize(
    "use",
    [
        lambda stack: stack.ping(0, None, deadline_s=1.0),
        lambda stack: stack.notify(0, None, intended_ns=0),
        lambda stack: stack.broadcast(model(1)),
        lambda stack: stack.run(),
        lambda stack: stack.lose(0),
        lambda stack: stack.ask(0, "collected"),
    ],
)
async def test_without_a_federation_nothing_is_offered(use: Callable[[FederationStack], Any]) -> None:
    with pytest.raises(Unsupported, match="push is not running"):
        await use(FederationStack("push", "memory", {}))


def test_settings_for_push_are_refused() -> None:
    with pytest.raises(ValueError, match="'push' has no settings, found poll_interval_s"):
        FederationStack("push", "memory", {"poll_interval_s": 0.1})


@pytest.mark.parametrize(
    ("settings", "interval_s", "timeout_s"),
    [
        ({}, 0.001, 0.010),
        ({"poll_interval_s": 0.005}, 0.005, 0.010),
        ({"poll_interval_s": 0.5}, 0.5, 0.5),
        ({"poll_interval_s": 2}, 2.0, 2.0),
        ({"poll_interval_s": 0.5, "receive_timeout_s": 0.1}, 0.5, 0.1),
    ],
)
async def test_a_receive_looks_for_at_least_one_interval(
    settings: dict[str, Any], interval_s: float, timeout_s: float
) -> None:
    stack = FederationStack("polling", "memory", settings)
    await stack.start(FederationSpec(1, WATCHING))
    try:
        config = cast("Federation", vars(stack)["_federation"]).config.polling
        assert (config.poll_interval_s, config.receive_timeout_s) == (interval_s, timeout_s)
    finally:
        await stack.stop()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poll_intervall_s": 1}, "polling.poll_intervall_s: unknown key; did you mean 'poll_interval_s'"),
        ({"poll_interval_s": "fast"}, "polling.poll_interval_s: expected a number, found text"),
    ],
)
async def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="stack polling: ") as caught:
        await FederationStack("polling", "memory", settings).start(FederationSpec(1, WATCHING))
    assert message in str(caught.value)
