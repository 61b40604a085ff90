"""rpc_ping in an open loop: calls at a share of what the stack can take."""

from typing import Any

import pytest

from fedbench.errors import Overloaded
from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow

BRIEF = {"clients": 3, "duration_s": 0.2, "capacity_s": 0.05, "callers": 4, "operations": 200}


@pytest.mark.parametrize("mode", ["memory", "process", "network"])
async def test_calls_begin_at_their_share_of_capacity(drive, session, mode: str) -> None:
    outcome = await drive(
        "rpc_ping", FederationStack("push", mode, {}), load=0.2, **BRIEF | {"capacity_s": 0.3}
    )
    assert outcome.wrong == []
    assert 20 < outcome.operations <= 200
    counts = {name: Histogram.from_dict(data).count for name, data in outcome.histograms.items()}
    assert counts["latency"] == counts["intended"] == outcome.operations <= counts["lag"]
    assert outcome.values.keys() == {"capacity_ops_per_s", "capacity_spread_share"}
    assert outcome.values["capacity_ops_per_s"] > 100
    assert outcome.missing == of_the_window("its window holds the turns of the load generator, too")
    assert session.asked == [("begin", False), "end"]


async def test_the_rate_follows_the_load(drive) -> None:
    brief = BRIEF | {"operations": 100_000}
    few, many = [
        await drive("rpc_ping", FederationStack("push", "memory", {}), load=load, **brief)
        for load in (0.05, 0.4)
    ]
    for outcome, load in ((few, 0.05), (many, 0.4)):
        expected = load * outcome.values["capacity_ops_per_s"] * 0.2
        assert outcome.operations == pytest.approx(expected, abs=5 * expected**0.5)


async def test_a_poller_has_a_capacity_too(drive) -> None:
    stack = FederationStack("polling", "memory", {})
    outcome = await drive("rpc_ping", stack, load=0.5, **BRIEF | {"duration_s": 0.4})
    assert outcome.wrong == []
    assert outcome.operations >= 1


async def test_a_wrong_answer_under_load_is_found(tapped, drive) -> None:
    class Forgetful(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            answer = await super().ping(client, payload, deadline_s=deadline_s)
            return b"?" if payload[0] == 4 else answer

    outcome = await drive("rpc_ping", Forgetful(), load=0.1, **BRIEF)
    assert "call 4 was answered with another payload" in outcome.wrong


async def test_calls_that_end_in_a_foreign_exception_are_no_good_calls(tapped, drive) -> None:
    class Resetting(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            if payload[0] == 4:
                raise ConnectionResetError("gone")
            return await super().ping(client, payload, deadline_s=deadline_s)

    outcome = await drive("rpc_ping", Resetting(), load=0.1, **BRIEF)
    assert "call 4 raised ConnectionResetError: gone" in outcome.wrong


async def test_calls_that_are_refused_below_capacity_are_found_and_stay_counted(tapped, drive) -> None:
    class Full(tapped):
        calls = 0

        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            if payload[0] == 4 and payload[1] == 0:
                raise Overloaded("full")
            return await super().ping(client, payload, deadline_s=deadline_s)

    outcome = await drive("rpc_ping", Full(), load=0.1, **BRIEF)
    calls = outcome.operations
    assert outcome.wrong == [f"of {calls} calls 0 came too late and 1 were refused"]
    assert Histogram.from_dict(outcome.histograms["latency"]).count == calls - 1


async def test_a_floor_has_no_place_between_calls_that_do_not_wait(tapped, drive) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match="a floor is timed between calls in turn: leave out"):
        await drive("rpc_ping", stack, load=0.5, floor="queue")
    assert stack.stops == 0


def test_an_open_loop_is_expected_for_its_duration_and_that_of_the_capacity() -> None:
    workload = create_workload("rpc_ping", {"load": 0.5, "duration_s": 3.0, "capacity_s": 0.5})
    assert workload.expected_s(poll_s=0.0) == pytest.approx(4.3)  # 2.5 x 0.5 + 3.0
