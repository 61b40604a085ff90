"""The server's arithmetic of a round, and a learner's methods as they are called."""

import asyncio

import numpy as np
import pytest

from fedbench.learning.aggregation import StreamingAverage
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import Learner
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, TrainResult
from tests.benchmarks.conftest import SIZES, a_model

CLIENT = ClientInfo("client", 0, 1, 7)
BODY = {"number": 1, "total": 20, "seed": 7}


class Eager(Learner):
    """Learns nothing, at once."""

    def initial_model(self):
        return a_model("small")

    async def train(self, model, round_info):
        return TrainResult(model, 10, {"loss": 0.5})

    async def evaluate(self, model):
        return {"accuracy": 0.5}


@SIZES
@pytest.mark.parametrize("clients", [1, 20])
def test_average(benchmark, size, clients):
    model = a_model(size)

    def average():
        total = StreamingAverage(model, clients)
        for position in range(clients):
            total.add(position, model, 1 + position)
        return total.finish(2)

    np.testing.assert_allclose(benchmark(average)["layer3.weight"], model["layer3.weight"], rtol=1e-6)


def test_average_that_waits_for_the_first(benchmark):
    model, clients = a_model("small"), 20

    def average():
        total = StreamingAverage(model, clients)
        for position in reversed(range(clients)):
            total.add(position, model, 10)
        return total.finish(2)

    assert benchmark(average) == model


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_average_of_other_dtypes(benchmark, dtype):
    model = ModelState.from_arrays({"w": (np.arange(1 << 18) % 1000).astype(dtype)})

    def average():
        total = StreamingAverage(model, 4)
        for position in range(4):
            total.add(position, model, 10)
        return total.finish(1)

    assert benchmark(average).nbytes == model.nbytes


@SIZES
def test_call_a_learner(benchmark, loop, size):
    model, dispatcher = a_model(size), LearnerDispatcher(Eager(CLIENT), "client")
    calls = 100

    async def call():
        for _ in range(calls):
            answer = await dispatcher.call("train", BODY, model)
        return answer

    _, trained = benchmark(lambda: loop.run_until_complete(call()))
    assert trained is model


def test_call_a_learner_in_its_thread(benchmark, loop):
    class Plain(Eager):
        def train(self, model, round_info):
            return TrainResult(model, 10, {"loss": 0.5})

    model, dispatcher = a_model("small"), LearnerDispatcher(Plain(CLIENT), "client")

    async def call():
        return await asyncio.gather(*(dispatcher.call("train", BODY, model) for _ in range(20)))

    try:
        assert len(benchmark(lambda: loop.run_until_complete(call()))) == 20
    finally:
        loop.run_until_complete(dispatcher.close())
