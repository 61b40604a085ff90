import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbench.loop import LoopName, run
from fedbench.tensors.model import ModelState
from harness.stacks import floors as module
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.floors import AWAITS_PER_SAMPLE, FloorStack

MODEL = ModelState.from_arrays({"w": np.zeros(1, np.float32)})


@pytest.mark.parametrize("operation", ["hop", "await", "rpc"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_operation_is_timed_as_often_as_asked(operation: str, loop: LoopName) -> None:
    start_ns = time.perf_counter_ns()
    times_ns = run(FloorStack().floor(operation, 50), loop)
    elapsed_ns = time.perf_counter_ns() - start_ns
    assert len(times_ns) == 50
    assert all(time_ns > 0 for time_ns in times_ns)
    assert sum(times_ns) * (AWAITS_PER_SAMPLE if operation == "await" else 1) <= elapsed_ns


async def test_an_await_is_cheaper_than_a_hop_and_a_hop_than_a_call() -> None:
    floors = FloorStack()
    medians_ns = [sorted(await floors.floor(operation, 301))[150] for operation in ("await", "hop", "rpc")]
    assert medians_ns == sorted(medians_ns)
    assert len(set(medians_ns)) == 3


async def test_no_further_hop_is_timed_when_the_loop_is_too_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOPS_MOST_S", 0.0)
    assert len(await FloorStack().floor("hop", 1000)) == 1


async def test_none_asked_is_none_timed() -> None:
    assert await FloorStack().floor("hop", 0) == []


async def test_an_unknown_operation_names_those_there_are() -> None:
    with pytest.raises(Unsupported, match="no floor 'jump': use one of hop, await, rpc"):
        await FloorStack().floor("jump", 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda floors: floors.start(FederationSpec(1, "x")),
        lambda floors: floors.ping(0, None, deadline_s=1.0),
        lambda floors: floors.notify(0, None, intended_ns=0),
        lambda floors: floors.broadcast(MODEL),
        lambda floors: floors.run(),
        lambda floors: floors.lose(0),
        lambda floors: floors.ask(0, "x"),
    ],
)
async def test_floors_are_no_federation(use: Callable[[FloorStack], Any]) -> None:
    floors = FloorStack()
    with pytest.raises(Unsupported):
        await use(floors)
    await floors.stop()
