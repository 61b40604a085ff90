from __future__ import annotations

import pytest
from msgspec.structs import replace

from harness.regression.matching import at_floor, compared, controlled, left_out, paired, unpaired, yardsticks
from harness.regression.stored import Cell, stored
from harness.regression.verdict import Key
from tests.fakes.stored import CELLS, observations

ROUND = Key("push", "round", "round_s")
WAKEUPS = Key("push", "round", "wakeups_per_op")


def test_a_faster_machine_is_no_change_and_counts_are_as_they_are():
    base, candidate = stored(observations(4, speed=1.0)), stored(observations(4, speed=2.0))
    sticks = yardsticks(base, candidate)
    sides, blocks = unpaired(base, candidate, sticks)
    assert sides.keys() == blocks.keys() == set(compared(base, candidate))
    assert sides[ROUND].candidate == pytest.approx(sides[ROUND].base)
    assert sides[ROUND].base[0] == pytest.approx(0.002, rel=0.2)  # seconds, as where the base ran
    assert list(blocks[ROUND].values()) == list(sides[ROUND].candidate)
    assert sides[WAKEUPS].candidate == [*candidate.values[WAKEUPS].values()]
    assert not sides[ROUND].paired
    raw, _ = unpaired(base, candidate, None)
    assert raw[ROUND].candidate == pytest.approx([one / 2 for one in sides[ROUND].base], rel=0.1)


def two_loops(blocks=4, *, speed=1.0, slow_asyncio=1.0, first="uvloop"):
    """Observations of which those of one cell, and a second floor, ran on asyncio."""
    made = observations(blocks, speed=speed)
    floors = [
        replace(
            o, loop="asyncio", arm="other_floors", metrics={"latency_p50_s": o.metrics["latency_p50_s"] * 9}
        )
        for o in made
        if o.stack == "floors"
    ]
    for o in made:
        if o.workload == "round":
            yield replace(
                o, loop="asyncio", metrics={**o.metrics, "round_s": o.metrics["round_s"] * slow_asyncio}
            )
        else:
            yield o
    yield from floors if first == "uvloop" else reversed(floors)


def test_each_loop_has_a_floor_of_its_own():
    base, candidate = stored(two_loops()), stored(two_loops(speed=2.0, first="asyncio"))
    sticks = yardsticks(base, candidate)
    assert {loop: cell.arm for loop, (cell, _) in sticks.items()} == {
        "uvloop": "floors",
        "asyncio": "other_floors",
    }
    sides, _ = unpaired(base, candidate, sticks)
    for key in (ROUND, Key("push", "rpc", "cpu_s_per_op")):
        assert sides[key].candidate == pytest.approx(sides[key].base)
        assert sides[key].base == pytest.approx([*base.values[key].values()], rel=0.1)


def test_the_floor_is_one_that_both_runs_timed():
    made = observations(3)
    extra = [replace(o, arm="a_floor") for o in made if o.stack == "floors"]
    base, both = stored([*extra, *made]), stored(made)
    assert yardsticks(base)["uvloop"][0] == Cell("a_floor", "bare")
    assert yardsticks(base, both)["uvloop"][0] == Cell("floors", "bare")
    assert yardsticks(stored(observations(3, floors=False))) is None
    other_loop = stored(replace(o, loop="asyncio") if o.stack == "floors" else o for o in made)
    assert yardsticks(other_loop).keys() == {"asyncio"}
    assert yardsticks(both, other_loop) == {}


@pytest.mark.parametrize(("lost", "told"), [(1, True), (2, True), (3, False)])
def test_a_block_without_its_floor_is_no_sample_and_many_tell_no_time(lost, told):
    """The machine is twice as fast when the candidate runs: as it was measured, all times are half."""
    base = stored(observations(20))
    candidate = stored(
        o for o in observations(20, speed=2.0) if not (o.stack == "floors" and o.block <= lost)
    )
    sticks = yardsticks(base, candidate)
    sides, blocks = unpaired(base, candidate, sticks)
    lines = left_out(base, candidate, sticks).lacking
    assert (ROUND in sides, "push round round_s: not every block has a floor" in lines) == (told, not told)
    assert len(sides[WAKEUPS].candidate) == 20  # a count needs none
    if told:
        assert blocks[ROUND].keys() == set(range(lost + 1, 21))
        assert sorted(sides[ROUND].candidate)[9] == pytest.approx(0.002, rel=0.05)


def test_what_is_measured_in_few_blocks_only_is_lost():
    base = stored(observations(20))
    for kept, compared_too in ((18, True), (17, False)):
        candidate = stored(observations(20))
        for block in range(kept + 1, 21):
            del candidate.values[ROUND][block]
        assert (ROUND in compared(base, candidate)) == compared_too
        assert (f"push round round_s: the candidate measured in {kept} of 20 blocks only" in
                left_out(base, candidate).lacking) == (not compared_too)  # fmt: skip
        assert ROUND in compared(candidate, base)


def test_a_run_can_be_told_at_its_usual_speed():
    made = stored(observations(9, spread=0.2))
    told = at_floor(made, yardsticks(made))
    assert told.keys() == set(compared(made, made))
    (floors,) = made.floors.values()
    assert told[ROUND][1] / made.values[ROUND][1] == pytest.approx(sorted(floors.values())[4] / floors[1])


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
    assert compared(base, candidate) == [] == [*paired(base, candidate)]
    assert left_out(base, candidate) == (
        [
            "push rpc: it ran with other parameters",
            "push round: the candidate failed in block 2: it died",
            "push_process memory: only the base has it",
        ],
        [],
    )
    back = left_out(candidate, base)
    assert back.lacking[-1] == "push round: the base failed in block 2: it died"
    assert back.new == ["push_process memory: only the candidate has it"]


def test_what_cannot_run_on_either_side_is_no_loss():
    made = observations(3)
    less = [
        replace(o, status="unsupported", reasons=["no cores"], metrics={}) if o.workload == "rpc" else o
        for o in made
    ]
    whole, lacking = stored(made), stored(less)
    assert left_out(lacking, lacking) == ([], [])
    assert left_out(whole, lacking) == (["push rpc: only the base has it (unsupported: no cores)"], [])
    assert left_out(lacking, whole) == ([], ["push rpc: only the candidate has it"])
    assert Cell("push", "rpc") not in {key[:2] for key in compared(whole, lacking)}


def test_a_void_cell_is_not_compared_and_that_is_said():
    made = observations(5)
    late = stored(
        replace(o, metrics={**o.metrics, "lag_p99_s": 0.02}) if o.workload == "rpc" else o for o in made
    )
    assert Cell("push", "rpc") not in {key[:2] for key in compared(stored(made), late)}
    assert left_out(stored(made), late).lacking == [
        "push rpc: the candidate lagged behind its load in 5 of 5 blocks, 20.0 ms at p99 at worst: "
        "they are void"
    ]


def test_of_metrics_that_say_the_same_the_one_is_taken_that_both_sides_have():
    """The base knows hops and a median, the candidate the median alone: that is compared, hops are missed."""
    base, candidate = [], []
    for o in observations(3):
        if o.workload == "rpc":
            base.append(replace(o, metrics={**o.metrics, "latency_p50_s": 1e-4}))
            candidate.append(replace(o, metrics={**o.metrics, "latency_p50_s": 1e-4, "latency_hops": None}))
    first, second = stored(base), stored(candidate)
    assert [key.metric for key in compared(first, second)] == [
        "latency_p50_s", "cpu_s_per_op", "log_records_per_op",
    ]  # fmt: skip
    assert left_out(first, second).lacking == ["push rpc latency_hops: only the base has it"]
    assert left_out(second, first).new == ["push rpc latency_hops: only the candidate has it"]
    assert [key.metric for key in compared(first, first)] == [
        "latency_hops", "cpu_s_per_op", "log_records_per_op",
    ]  # fmt: skip


def test_pairs_are_those_of_the_same_block():
    base, candidate = (stored(observations(12, seed=seed)) for seed in (1, 2))
    del candidate.values[ROUND][3]
    sides = paired(base, candidate)
    common = [block for block in range(1, 13) if block != 3]
    assert list(sides[ROUND].base) == [base.values[ROUND][block] for block in common]
    assert list(sides[ROUND].candidate) == [candidate.values[ROUND][block] for block in common]
    assert len(sides) == sum(map(len, CELLS.values()))


def test_a_control_that_lacks_a_metric_is_planned_and_lost():
    base, candidate, again = (stored(observations(4, seed=seed)) for seed in (1, 2, 3))
    del again.values[ROUND]
    sides = controlled(paired(base, candidate), paired(base, again))
    assert sides[ROUND].control == ()
    assert sides[WAKEUPS].control == [
        (base.values[WAKEUPS][block], again.values[WAKEUPS][block]) for block in (1, 2, 3, 4)
    ]
