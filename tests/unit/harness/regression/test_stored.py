from __future__ import annotations

import pytest
from msgspec.structs import replace

from harness.records.schema import Disturbance
from harness.regression.stored import Cell, Setup, stored
from harness.regression.verdict import Key
from tests.fakes.stored import CELLS, observations

RPC = Cell("push", "rpc")
ROUND = Key("push", "round", "round_s")


def test_every_gated_metric_is_there_as_measured():
    made = stored(observations(3, speed=2.0))
    assert made.values.keys() == {Key(*cell, name) for cell, names in CELLS.items() for name in names}
    assert made.values[ROUND].keys() == {1, 2, 3}
    assert made.values[ROUND][1] == pytest.approx(0.001, rel=0.2)
    assert made.metrics(RPC) == {"latency_hops", "cpu_s_per_op", "log_records_per_op"}
    assert made.setups[RPC] == Setup("push", "memory", "uvloop", "rpc", (("clients", "10"),))
    assert made.steps == [1, 2, 3]
    assert made.failed == made.unsupported == {}


def test_floors_are_kept_apart_and_peers_are_left_out():
    made = stored(observations(2))
    ((floor, setup),) = made.floors
    assert (floor, setup.loop) == (Cell("floors", "bare"), "uvloop")
    assert made.floors[floor, setup].keys() == {1, 2}
    assert floor not in made.setups
    peers = stored(replace(o, stack="polling") for o in observations(2))
    assert (peers.values, peers.setups, peers.floors) == ({}, {}, {})
    broken = stored(replace(o, status="failed") for o in observations(2))
    assert broken.floors == {}


def test_a_percentile_without_a_bound_says_nothing():
    (first, *_), extra = observations(1), {"latency_p99_s": 1.0, "intended_p99_s": 1.0}
    for bound, names in ((1.1, extra.keys()), (None, set())):
        made = stored([replace(first, metrics={**extra, "latency_p99_bound_s": bound, "accuracy": 1.0})])
        assert made.metrics(RPC) == names


def test_what_fails_is_no_sample_and_what_cannot_run_is_no_failure():
    ended = {1: "ok", 2: "failed", 3: "timeout", 4: "unsupported"}
    made = stored(
        replace(o, status=ended[o.block], reasons=["it died"]) for o in observations(4) if o.workload == "rpc"
    )
    assert made.failed == {RPC: "failed in block 2: it died"}
    assert made.unsupported == {RPC: "it died"}
    assert made.values[Key(*RPC, "latency_hops")].keys() == {1}
    assert made.steps == [1, 2, 3, 4]


def test_a_block_whose_load_came_late_is_no_sample_and_many_leave_no_cell():
    def lagging(blocks):
        for o in observations(20):
            lag = 0.02 if o.workload == "rpc" and o.block <= blocks else 0.002
            yield replace(o, metrics={**o.metrics, "lag_p99_s": lag})

    few, many = stored(lagging(2)), stored(lagging(3))
    assert few.values[Key(*RPC, "latency_hops")].keys() == set(range(3, 21))
    assert few.unfit(RPC) == ""
    assert many.unfit(RPC) == (
        "lagged behind its load in 3 of 20 blocks, 20.0 ms at p99 at worst: they are void"
    )
    assert many.unfit(Cell("push", "round")) == ""


def test_a_block_in_which_others_used_the_machine_is_no_sample_unless_it_was_run_again():
    disturbance = Disturbance(void=["others used 0.98 cores: make (71)"])

    def run(blocks, again=()):
        made = []
        for o in observations(10):
            if o.workload == "rpc" and o.block in blocks:
                made.append(replace(o, disturbance=disturbance))
            if o.workload != "rpc" or o.block not in blocks or o.block in again:
                made.append(replace(o, attempt=2 if o.block in again else 1, disturbance=Disturbance()))
        return stored(made)

    hops = Key(*RPC, "latency_hops")
    assert run({3}).values[hops].keys() == {*range(1, 11)} - {3}
    assert (run({3}).unfit(Cell(*RPC)), run({3, 4}, again={3, 4}).unfit(Cell(*RPC))) == ("", "")
    assert run({3, 4}, again={3, 4}).values[hops].keys() == {*range(1, 11)}
    assert run({3, 4}).unfit(Cell(*RPC)) == (
        "was disturbed in 2 of 10 blocks, which are void: others used 0.98 cores: make (71)"
    )


def test_one_more_copy_of_a_model_is_one_more_whatever_the_process_holds():
    memory = {"memory_start_bytes": 300e6, "memory_peak_bytes": 300e6 + 5 * 4e6}
    made = [
        replace(o, metrics={**o.metrics, **memory}, params={**o.params, "model_bytes": 4_000_000})
        for o in observations(2)
        if o.workload == "memory"
    ]
    cell = ("push_process", "memory", "model_copies")
    assert stored(made).values[Key(*cell)] == {1: 5.0, 2: 5.0}
    told = [replace(o, metrics={**o.metrics, "model_copies": 8.2}) for o in made]
    assert stored(told).values[Key(*cell)] == {1: 8.2, 2: 8.2}  # as the workload counted them
