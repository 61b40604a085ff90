from __future__ import annotations

import time

from harness.stats.histogram import Histogram
from harness.workloads import in_turn
from harness.workloads.in_turn import HopsInTurn, in_hops


async def test_hops_are_kept_with_the_cpu_time_that_they_took() -> None:
    turn = HopsInTurn()
    assert (turn.cpu_s, turn.missing()) == (None, {})
    assert len(await turn(20)) == 20
    first_s = turn.cpu_s
    begun_ns = time.thread_time_ns()
    await turn(30)
    assert len(turn.times_ns) == 50
    assert 0 < first_s < turn.cpu_s <= first_s + (time.thread_time_ns() - begun_ns) / 1e9


async def test_what_a_window_with_hops_cannot_tell_is_missing_and_the_rest_is_told() -> None:
    turn = HopsInTurn()
    await turn(1)
    assert {"cpu_cores", "ops_per_s", "wakeups_per_s"} <= turn.missing().keys()
    assert not any(name.endswith("_per_op") for name in turn.missing())
    assert set(turn.missing().values()) == {in_turn.FLOOR_WITHIN}


def test_a_latency_is_told_in_hops() -> None:
    latency = Histogram()
    latency.record(4000)
    assert round(in_hops(latency, [900, 1000, 5000])["latency_hops"]) == 4
