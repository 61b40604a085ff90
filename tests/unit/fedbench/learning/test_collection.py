import asyncio

import numpy as np
import pytest

from fedbench.errors import DeadlineExceeded
from fedbench.learning.collection import Collection
from fedbench.tensors.model import ModelState
from fedbench.values import RoundInfo, RoundPhases, TrainResult
from tests.fakes.clock import FakeClock


class Client:
    """Answers with its value, weight and loss, after ``go`` if there is one."""

    def __init__(self, value, weight, *, error=None, go=None):
        self.value, self.weight, self.error, self.go = value, weight, error, go

    async def begin_train(self, given, round_info, *, deadline_s=None):
        if self.go is not None:
            await self.go.wait()
        if self.error is not None:
            raise self.error
        return TrainResult(model(self.value), self.weight, {"loss": self.value})


def model(value=0.0):
    return ModelState.from_arrays({"w": np.array([value])})


def collection(count):
    ids = [f"c{position}" for position in range(count)]
    return Collection(model(), RoundInfo(3, 5, 0), ids, 10.0, set())


async def test_updates_are_averaged_and_described():
    made = collection(2)
    await made.collect([Client(1.0, 1), Client(4.0, 2)], FakeClock())
    record = made.record(RoundPhases(0.1, 0.2, 0.3, 0.4), 7)
    assert (await made.reduction.finish(1))["w"].tolist() == [3.0]
    assert (record.number, record.selected, record.arrived) == (3, ("c0", "c1"), ("c0", "c1"))
    assert (record.num_examples, record.metrics) == (3, {"loss": 3.0})
    assert (record.round_s, record.model_version, record.failures) == (1.0, 7, {})


async def test_each_failure_keeps_its_reason_in_index_order():
    made = collection(4)
    errors = DeadlineExceeded("too late"), ZeroDivisionError("no data")
    learners = [Client(0, 1, error=errors[0]), None, Client(2.0, 1), Client(0, 1, error=errors[1])]
    await made.collect(learners, FakeClock())
    assert made.failures_by_id() == {
        "c0": "too late",
        "c1": "not connected",
        "c3": "ZeroDivisionError: no data",
    }
    assert made.record(RoundPhases(0.0, 0.0, 0.0, 0.0), 1).arrived == ("c2",)


async def test_the_deadline_ends_it_and_every_call():
    clock, made = FakeClock(), collection(2)
    learners = [Client(1.0, 1), Client(2.0, 1, go=asyncio.Event())]
    collecting = asyncio.create_task(made.collect(learners, clock))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not collecting.done()
    clock.advance(10.0)
    await collecting
    assert made.failures_by_id() == {"c1": "no update within 10 s"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_ends_every_call():
    made = collection(1)
    collecting = asyncio.create_task(made.collect([Client(1.0, 1, go=asyncio.Event())], FakeClock()))
    await asyncio.sleep(0)
    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting
    assert asyncio.all_tasks() == {asyncio.current_task()}
