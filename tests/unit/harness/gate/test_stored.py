from __future__ import annotations

import pytest
from msgspec.structs import replace

from harness.gate.compare import Key
from harness.gate.margins import telling
from harness.gate.stored import Cell, paired, stored, unpaired
from tests.fakes.stored import CELLS, observations

ROUND = Key("push", "round", "round_s")


def test_times_are_told_in_floors_and_counts_as_they_are():
    slow, fast = (stored(observations(5, speed=speed)) for speed in (1.0, 4.0))
    assert slow.floor_s == pytest.approx(4 * fast.floor_s)
    assert slow.values.keys() == {Key(*cell, name) for cell, names in CELLS.items() for name in names}
    for key, values in slow.values.items():
        assert fast.values[key] == pytest.approx(values)
    assert slow.at(5e-6)[ROUND][1] == pytest.approx(0.002, rel=0.2)
    assert slow.at(None) is slow.values


def test_without_a_floor_in_every_block_times_stay_times():
    made = observations(3)
    lacking = [o for o in made if not (o.stack == "floors" and o.block == 2)]
    for run in (stored(lacking), stored(made, floored=False), stored(observations(3, floors=False))):
        assert run.floor_s is None
        assert run.values[ROUND][1] == pytest.approx(0.002, rel=0.2)
    other_loop = [replace(o, loop="asyncio") if o.stack == "floors" else o for o in made]
    assert stored(other_loop).floor_s is None


def test_a_faster_machine_is_no_change():
    base, candidate = stored(observations(4, speed=1.0)), stored(observations(4, speed=2.0))
    sides, left_out = unpaired(base, candidate)
    assert left_out == []
    before, after = sides[ROUND]
    assert sorted(after.values()) == pytest.approx(sorted(before))
    assert before[0] == pytest.approx(0.002, rel=0.2)  # seconds, as where the base ran


def test_what_is_not_common_is_left_out_and_said():
    made = observations(3)
    others = [
        replace(o, params={"clients": 20}) if o.workload == "rpc" else o
        for o in made
        if o.workload != "memory"
    ]
    broken = [
        replace(o, status="failed", reasons=["it died"]) if (o.workload, o.block) == ("round", 2) else o
        for o in others
    ]
    base, candidate = stored(made), stored(broken)
    for sides, left_out in (unpaired(base, candidate), paired(base, candidate)):
        assert sides == {}
        assert left_out == [
            "push rpc: it ran with other parameters",
            "push round: the candidate failed in block 2: it died",
            "push_process memory: only the base has it",
        ]
    assert candidate.failed.keys() == {Cell("push", "round")}
    assert unpaired(candidate, base)[1][-1] == "push_process memory: only the candidate has it"


def test_pairs_are_those_of_the_same_block():
    base, candidate = (stored(observations(4, seed=seed), floored=False) for seed in (1, 2))
    del candidate.values[ROUND][3]
    sides, _ = paired(base, candidate)
    assert list(sides[ROUND].base) == [base.values[ROUND][block] for block in (1, 2, 4)]
    assert list(sides[ROUND].candidate) == [candidate.values[ROUND][block] for block in (1, 2, 4)]


def test_peers_and_floors_are_yardsticks():
    made = [replace(o, stack="polling") for o in observations(2)]
    assert stored(made).values == {}


def test_of_metrics_that_say_the_same_one_is_compared():
    whole = {"latency_p50_s": 1.0, "round_s": 1.0, "latency_p99_s": 1.0, "latency_p99_bound_s": 1.0}
    assert telling(whole) == ["latency_p99_s", "round_s"]
    assert telling({**whole, "latency_p99_bound_s": None}) == ["round_s"]
    assert telling({**whole, "floor_ratio": 1.0, "cpu_cores": 1.0, "cpu_s_per_op": 2.0}) == [
        "latency_p99_s",
        "floor_ratio",
        "cpu_s_per_op",
    ]
    assert telling({"memory_peak_bytes": 1.0, "round_s": 1.0, "log_records_per_op": 0.0}) == [
        "memory_peak_bytes",
        "log_records_per_op",
    ]
    assert telling({"accuracy": 1.0, "latency_p50_s": None}) == []
