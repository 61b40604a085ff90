import numpy as np
import pytest

from fedbench.values import ClientInfo, RoundInfo
from harness.workloads.learners import DraftLearner, EchoLearner, FaultyLearner

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
    handled: list[int] = []
    await learner.on_event("bench", [1])
    learner.on_handled = lambda: handled.append(len(learner.events))
    await learner.on_event("bench", [2])
    await learner.on_model_update(await learner.initial_model(), 4)
    assert [data for _, data in learner.events] == [[1], [2]]
    assert learner.events[0][0] <= learner.events[1][0]
    assert handled == [2]
    assert learner.versions == [4]


async def test_a_draft_learner_adds_one_and_shows_its_update_before_it_returns_it() -> None:
    learner = DraftLearner(info(), model_bytes=16)
    model = await learner.initial_model()
    built: list[RoundInfo] = []

    async def on_built(round_info: RoundInfo) -> None:
        built.append(round_info)

    assert ((await learner.train(model, ROUND)).model["values"] == model["values"] + 1).all()
    learner.on_built = on_built
    await learner.train(model, ROUND)
    assert built == [ROUND]


async def test_only_the_first_client_raises_and_only_in_the_first_round() -> None:
    faulty, sound = FaultyLearner(info(0)), FaultyLearner(info(1))
    model = await sound.initial_model()
    with pytest.raises(RuntimeError, match="injected fault"):
        await faulty.train(model, ROUND)
    assert (await faulty.train(model, RoundInfo(2, 3, 0))).model is model
    assert (await sound.train(model, ROUND)).model is model
