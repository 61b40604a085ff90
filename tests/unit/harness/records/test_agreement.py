from typing import Any

import msgspec
import pytest

from harness.records.agreement import contradictions
from harness.records.schema import Observation, RunRecord
from harness.records.summary import summarise
from tests.fakes.results import fake_observations, fake_run
from tests.fakes.stored import observations, record

MADE = observations(3)


def run(made: list[Observation] = MADE, **changes: Any) -> RunRecord:
    order: dict[int, list[str]] = {}
    for o in made:
        order.setdefault(o.block, []).append(o.arm)
    return record(made, **{"order": [order[block] for block in sorted(order)], **changes})


def test_what_a_run_writes_agrees():
    assert contradictions(run(), MADE) == []
    assert contradictions(fake_run(), fake_observations()) == []
    assert contradictions(run([]), []) == []


def test_a_run_with_a_process_for_each_cell_names_cells_in_its_order():
    order = [[f"{o.arm}/{o.workload}" for o in MADE if o.block == block] for block in (1, 2, 3)]
    assert contradictions(run(order=order), MADE) == []
    (told,) = contradictions(run(order=order, cells=summarise(MADE[1:])), MADE[1:])
    assert told == "has no push/rpc in block 1, where run.json tells of it"


def test_observations_of_one_cell_and_block_stand_there_once():
    assert contradictions(run(ended="interrupted"), [*MADE, MADE[0]]) == ["has push rpc of block 1 2 times"]


@pytest.mark.parametrize("ended", ["complete", "budget", "interrupted"])
def test_observations_that_were_emptied_or_lost_are_told(ended):
    assert "has no push rpc, which run.json tells of" in contradictions(run(ended=ended), [])
    without = [o for o in MADE if o.workload != "round"]
    assert contradictions(run(ended=ended), without)[0] == "has no push round, which run.json tells of"
    cut = contradictions(run(ended=ended), MADE[:-4])
    assert cut[-1] == "has 2 blocks, run.json 3"


def test_a_value_that_went_is_told_once_for_each_cell():
    lost = [msgspec.structs.replace(MADE[0], metrics={}), *MADE[1:]]
    assert contradictions(run(), lost) == ["has 2 values of push rpc latency_hops, run.json 3"]
    assert contradictions(run(ended="interrupted"), lost) == []  # resumed, it may have come out so


def test_more_than_the_record_tells_of_is_what_a_run_that_goes_on_has_alone():
    older = run(MADE[:3], ended="interrupted")
    assert contradictions(older, MADE) == []
    told = contradictions(run(MADE[:3]), MADE)
    assert "has floors bare, which run.json does not tell of" in told
    assert "has 3 blocks, run.json 1" in told


def test_an_arm_that_went_from_one_block_of_a_run_that_goes_on_is_told():
    (told,) = contradictions(run(MADE[:4], ended="interrupted"), [*MADE[:3], *MADE[4:]])
    assert told == "has no floors in block 1, where run.json tells of it"
