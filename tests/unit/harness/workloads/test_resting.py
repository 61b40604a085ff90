from typing import Any

import pytest

from harness.records.derive import of_the_window
from harness.stacks.base import Unsupported
from harness.stacks.floors import FloorStack
from harness.stats.histogram import Histogram
from harness.workloads.registry import create_workload


async def test_an_idle_federation_is_timed_from_outside_and_answers_afterwards(stack, session, drive) -> None:
    outcome = await drive("idle_federation", stack, clients=4, idle_s=1.5, settle_s=0.25)
    assert session.asked == [0.25, ("begin", False), 1.5, "end"]
    assert (outcome.operations, outcome.clients, outcome.wrong) == (0, 4, [])


async def test_a_client_that_does_not_answer_after_the_idle_time_is_found(tapped, drive) -> None:
    class Sleepy(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            return None if client == 1 else await super().ping(client, payload, deadline_s=deadline_s)

    outcome = await drive("idle_federation", Sleepy(), clients=3)
    assert outcome.wrong == ["client 1 answered None after the idle time"]


@pytest.mark.parametrize("operation", ["hop", "await", "rpc"])
async def test_every_floor_operation_is_timed(operation: str, session, drive) -> None:
    outcome = await drive("floor", FloorStack(), operation=operation, operations=40)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (40, 0, [])
    assert Histogram.from_dict(outcome.histograms["latency"]).percentile(1.0) > 0
    assert outcome.missing.keys() == of_the_window("").keys()
    assert session.asked == [("begin", False), "end"]


async def test_a_federation_has_no_floor(stack, session, drive) -> None:
    with pytest.raises(Unsupported):
        await drive("floor", stack)
    assert session.asked == []


async def test_floors_are_no_federation(session, drive) -> None:
    with pytest.raises(Unsupported):
        await drive("idle_federation", FloorStack())
    assert session.asked == []


def test_idling_takes_what_it_is_told() -> None:
    workload = create_workload("idle_federation", {"idle_s": 60.0, "settle_s": 0.5})
    for poll_s in (0.0, 0.001):
        assert workload.expected_s(poll_s=poll_s) == pytest.approx(60.5, abs=0.1)


@pytest.mark.parametrize(
    ("operation", "operations", "seconds"),
    [
        ("hop", 1000, 0.011),  # a tenth to warm up
        ("queue_round", 1, 5.0),  # one round more, which is not timed
        ("queue_round", 3, 10.0),
        ("memcpy", 15, 0.18),
        ("memcpy", 5000, 0.42),  # it copies at most 20 times
    ],
)
def test_a_floor_takes_what_its_operation_takes(operation: str, operations: int, seconds: float) -> None:
    floor = create_workload("floor", {"operation": operation, "operations": operations})
    assert floor.expected_s(poll_s=0.0) == pytest.approx(seconds)


async def test_importing_is_timed_in_new_interpreters(session) -> None:
    workload = create_workload("import_time", {"operations": 1})
    outcome = await workload.run(FloorStack(), session)
    assert outcome.operations == 1
    assert outcome.histograms["latency"]["min_ns"] > 1_000_000
    assert outcome.missing == {}
    assert create_workload("import_time", {"operations": 4}).expected_s(poll_s=0.0) == 1.0


async def test_an_import_that_fails_is_an_error(session, monkeypatch) -> None:
    workload = create_workload("import_time", {})
    monkeypatch.setattr(type(workload), "code", "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="exit code 3"):
        await workload.run(FloorStack(), session)
