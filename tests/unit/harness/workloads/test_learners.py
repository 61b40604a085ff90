import asyncio
import time

import numpy as np
import pytest

from fedbench.values import ClientInfo, RoundInfo
from harness.workloads.barrier import barrier
from harness.workloads.learners import (
    BouncingLearner,
    BurstLearner,
    CountingLearner,
    DraftLearner,
    EchoLearner,
    FaultyLearner,
    LateLearner,
    SlowLearner,
    WatchingLearner,
    burst_value,
)
from tests.pace import limit_s

ROUND = RoundInfo(1, 3, 0)


def info(index: int = 0) -> ClientInfo:
    return ClientInfo(f"yaml_client_{index + 1}", index, 2, 7)


@pytest.mark.parametrize(("model_bytes", "values"), [(0, 1), (4, 1), (1024, 256)])
async def test_the_model_has_the_size_asked_for_and_holds_whole_numbers(
    model_bytes: int, values: int
) -> None:
    model = await EchoLearner(info(), model_bytes=model_bytes).initial_model()
    assert model["values"].tolist() == [i % 251 for i in range(values)]
    assert model["values"].dtype == np.float32


async def test_an_echo_returns_the_very_model_it_was_given() -> None:
    learner = EchoLearner(info(), model_bytes=16)
    model = await learner.initial_model()
    result = await learner.train(model, ROUND)
    assert result.model is model
    assert result.num_examples == 1
    assert await learner.evaluate(model) == {}


async def test_an_echo_remembers_what_it_was_sent_in_order() -> None:
    learner = EchoLearner(info())
    await learner.on_event("bench", [1])
    await learner.on_event("bench", [2])
    events = await learner.collected()
    assert [data for _, data in events] == [[1], [2]]
    assert events[0][0] <= events[1][0]


async def test_a_watching_learner_remembers_the_models_it_was_handed() -> None:
    learner = WatchingLearner(info())
    await learner.on_model_update(await learner.initial_model(), 4)
    assert await learner.applied() == {"versions": [4], "ends": [(0.0, 19.0)]}


async def test_a_draft_learner_adds_its_number() -> None:
    learner = DraftLearner(info(1), model_bytes=16)
    model = await learner.initial_model()
    assert ((await learner.train(model, ROUND)).model["values"] == model["values"] + 2).all()


async def test_draft_learners_wait_for_each_other_at_a_barrier() -> None:
    seen: list[int] = []

    async def on_all() -> None:
        seen.append(len(done))

    done: list[int] = []

    async def train(learner: DraftLearner) -> None:
        await learner.train(await learner.initial_model(), ROUND)
        done.append(1)

    async with barrier(3, on_all) as folder:
        learners = [DraftLearner(info(index), model_bytes=16, barrier=folder) for index in range(3)]
        for _ in range(2):
            await asyncio.gather(*map(train, learners))
    assert seen == [0, 3]


async def test_only_the_first_client_raises_and_only_in_the_first_round() -> None:
    faulty, sound = FaultyLearner(info(0)), FaultyLearner(info(1))
    model = await sound.initial_model()
    with pytest.raises(RuntimeError, match="injected fault"):
        await faulty.train(model, ROUND)
    assert (await faulty.train(model, RoundInfo(2, 3, 0))).model is model
    assert (await sound.train(model, ROUND)).model is model


async def test_a_bouncing_learner_returns_the_very_model() -> None:
    learner = BouncingLearner(info())
    model = await learner.initial_model()
    assert await learner.bounce(model) is model


async def test_no_two_bursts_and_no_two_clients_send_the_same_model() -> None:
    async def on_all() -> None:
        pass

    async with barrier(2, on_all) as folder:
        learners = [BurstLearner(info(index), model_bytes=16, barrier=folder) for index in range(2)]
        models = [m for _ in range(2) for m in await asyncio.gather(*(one.burst() for one in learners))]
    assert [set(model["values"].tolist()) for model in models] == [{2.0}, {3.0}, {4.0}, {5.0}]
    assert [burst_value(burst, client, 2) for burst in (1, 2) for client in (0, 1)] == [2, 3, 4, 5]


async def test_a_late_learner_takes_its_time() -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    assert await LateLearner(info(1), slow_s=0.02).late() == 1
    assert loop.time() - start_s >= 0.019


async def test_a_slow_learner_takes_one_event_at_a_time_until_it_hurries() -> None:
    learner = SlowLearner(info(), slow_s=60.0)
    await learner.on_event("bench", 1)  # at once: nobody has told it to be slow
    await learner.slow()
    taking = [asyncio.create_task(learner.on_event("bench", number)) for number in (2, 3)]
    await asyncio.sleep(0.01)
    assert [data for _, data in await learner.collected()] == [1]
    await learner.hurry()
    assert [data for _, data in await learner.collected()] == [1, 2, 3]
    await asyncio.gather(*taking)


async def test_a_slow_event_is_taken_after_its_time() -> None:
    learner = SlowLearner(info(), slow_s=0.01)
    await learner.slow()
    async with asyncio.timeout(limit_s(5.0)):
        await learner.on_event("bench", 1)
    assert [data for _, data in learner.events] == [1]


async def test_a_counting_learner_keeps_numbers_only_and_sees_what_is_out_of_order() -> None:
    learner = CountingLearner(info(), model_bytes=16)
    for data in (0, 1):
        await learner.on_event("bench", data)
    model = (await learner.initial_model()).with_version(3)
    assert await learner.counts() == [2, 0, 0]
    await learner.on_event("bench", 3)
    await learner.on_model_update(model, 3)
    assert await learner.counts() == [3, 1, 2]
    assert learner.events == []


async def test_a_draft_learner_waits_as_long_as_its_training_takes() -> None:
    learner = DraftLearner(info(1), model_bytes=16, train_s=0.05)
    model = await learner.initial_model()
    await learner.take_time()
    start_s, start_cpu_s = time.monotonic(), time.thread_time()
    result = await learner.train(model, ROUND)
    assert time.monotonic() - start_s >= 0.05
    assert time.thread_time() - start_cpu_s < 0.05, "it waits, it does not compute"
    assert result.model["values"].tolist() == [2, 3, 4, 5]
