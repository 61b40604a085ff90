import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import pytest

from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads import beside_process, in_turn, messaging
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow


def count(outcome: Any, name: str) -> int:
    return Histogram.from_dict(outcome.histograms[name]).count


async def test_calls_are_answered_by_every_client_in_turn(stack, session, drive) -> None:
    outcome = await drive(
        "rpc_ping", stack, clients=3, operations=6, duration_s=5.0, warmup=3, payload_bytes=16
    )
    assert (outcome.operations, outcome.clients, outcome.wrong) == (6, 3, [])
    assert count(outcome, "latency") == 6
    assert session.asked == [("begin", False), "end"]


async def test_calls_stop_when_the_time_is_up_and_so_does_the_warm_up(drive) -> None:
    stack = FederationStack("polling", "memory", {})
    outcome = await drive("rpc_ping", stack, clients=2, operations=10_000, duration_s=0.1, warmup=10_000)
    assert 1 <= outcome.operations < 1000


async def test_a_wrong_answer_to_a_call_is_found(tapped, drive) -> None:
    class Forgetful(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            answer = await super().ping(client, payload, deadline_s=deadline_s)
            return b"?" if payload[0] == 4 else answer

    outcome = await drive("rpc_ping", Forgetful(), clients=2, operations=6)
    assert outcome.wrong == ["ping 4 was answered with b'?'"]


def test_a_poller_is_expected_to_take_longer() -> None:
    workload = create_workload("rpc_ping", {})
    assert workload.expected_s(poll_s=0.001) > workload.expected_s(poll_s=0.0) > 0


@pytest.mark.parametrize("floor", ["queue", "ws_echo"])
def test_a_floor_beside_the_calls_takes_its_time(floor: str) -> None:
    alone, beside = (create_workload("rpc_ping", {"floor": name}) for name in ("", floor))
    assert beside.expected_s(poll_s=0.0) > alone.expected_s(poll_s=0.0) + 0.2


# floors beside


@pytest.mark.parametrize(("mode", "floor"), [("process", "queue"), ("network", "ws_echo")])
async def test_calls_are_timed_beside_their_bare_means(
    drive, monkeypatch: pytest.MonkeyPatch, mode: str, floor: str
) -> None:
    monkeypatch.setattr(messaging, "CHUNK", 10)
    push = FederationStack("push", mode, {})
    outcome = await drive("rpc_ping", push, clients=1, operations=20, floor=floor)
    assert outcome.wrong == []
    assert (outcome.operations, count(outcome, "latency")) == (20, 20)
    assert outcome.missing == of_the_window("its window holds the floor, too")
    median_s = Histogram.from_dict(outcome.histograms["latency"]).percentile(0.5) / 1e9
    assert outcome.values["floor_ratio"] == pytest.approx(median_s / outcome.values["floor_s"])


class Trips:
    """A queue that notes when it is used, in the same list as the calls."""

    def __init__(self, done: list[Any], trip_ns: int = 100) -> None:
        self.done, self.echoes, self.trip_ns = done, 0, trip_ns

    @asynccontextmanager
    async def queue_trips(self) -> AsyncIterator[Any]:
        self.echoes += 1

        async def trips(count: int) -> list[int]:
            self.done.append(f"{count} trips")
            return [self.trip_ns] * count

        yield trips


async def test_one_echo_serves_in_turn_with_the_calls_and_the_warm_up_of_both_does_not_count(
    tapped, drive, session, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = session.asked
    queue = Trips(done)
    monkeypatch.setattr(beside_process, "queue_trips", queue.queue_trips)

    class Noting(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            done.append("call")
            return await super().ping(client, payload, deadline_s=deadline_s)

    monkeypatch.setattr(messaging, "CHUNK", 3)
    outcome = await drive("rpc_ping", Noting(), clients=1, operations=7, warmup=2, floor="queue")
    assert [(text, len(list(group))) for text, group in groupby(done)] == [
        ("call", 2),
        ("3 trips", 1),
        (("begin", False), 1),
        ("3 trips", 1),
        ("call", 3),
        ("3 trips", 1),
        ("call", 3),
        ("3 trips", 1),
        ("call", 1),
        ("end", 1),
    ]
    assert queue.echoes == 1
    assert (outcome.operations, count(outcome, "latency")) == (7, 7)
    assert outcome.values["floor_s"] == pytest.approx(100e-9)


async def test_a_slow_queue_takes_nothing_of_the_time_of_the_calls(
    drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def slow() -> AsyncIterator[Any]:
        async def trips(count: int) -> list[int]:
            await asyncio.sleep(0.02)
            return [1] * count

        yield trips

    monkeypatch.setattr(beside_process, "queue_trips", slow)
    monkeypatch.setattr(messaging, "CHUNK", 1)
    stack = FederationStack("push", "memory", {})
    outcome = await drive("rpc_ping", stack, clients=1, operations=4, duration_s=0.03, floor="queue")
    assert outcome.operations == 4


async def test_an_unknown_floor_is_refused_before_anything_starts(tapped, drive) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match="unknown floor 'memcpy': use one of queue, ws_echo"):
        await drive("rpc_ping", stack, clients=1, floor="memcpy")
    assert stack.stops == 0


async def test_calls_without_a_floor_are_timed_in_turn_with_hops_whose_cpu_time_is_known(
    tapped, drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Noting(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            done.append("call")
            return await super().ping(client, payload, deadline_s=deadline_s)

    async def noted(self: in_turn.HopsInTurn, count: int) -> list[int]:
        done.append(f"{count} hops")
        return await timed(self, count)

    timed = in_turn.HopsInTurn.__call__
    monkeypatch.setattr(in_turn.HopsInTurn, "__call__", noted)
    monkeypatch.setattr(messaging, "CHUNK", 3)
    outcome = await drive("rpc_ping", Noting(), clients=1, operations=7, warmup=1)
    turns = [(text, len(list(group))) for text, group in groupby(done)]
    assert turns == [("call", 1), *[("3 hops", 1), ("call", 3)] * 2, ("3 hops", 1), ("call", 1)]
    assert outcome.values.keys() == {"latency_hops"}
    assert outcome.missing.keys() == {name for name in of_the_window("") if not name.endswith("_per_op")}
    assert outcome.floor_cpu_s > 0


async def test_a_payload_that_cannot_tell_calls_apart_is_refused(tapped, drive) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match="payload_bytes is 7: at least 8 tell the calls apart"):
        await drive("rpc_ping", stack, payload_bytes=7)
    assert stack.stops == 0


def test_calls_are_expected_to_take_no_longer_than_they_may() -> None:
    few, many, polled = (
        create_workload("rpc_ping", {"operations": operations, "duration_s": 0.4}).expected_s(poll_s=poll_s)
        for operations, poll_s in ((1000, 0.0), (10**6, 0.0), (10, 0.01))
    )
    assert 0.1 < few < many < 0.5 < polled  # a call to another process takes more than 100 µs
