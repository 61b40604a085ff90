from __future__ import annotations

import random

import pytest

from harness.regression.changes import key_of
from harness.regression.detectable import told_apart, told_side_by_side
from harness.regression.drawing import blocks_of
from harness.regression.margins import MARGINS
from harness.regression.resampling import Apart, SideBySide, detections, false_alarms, injectable
from harness.regression.verdict import Key
from tests.unit.harness.regression.pools import LIVELY, NOISY, QUIET, ROUND, pool_of

PROCEDURES = [SideBySide(MARGINS, 10), Apart(MARGINS, 12)]


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_the_same_code_hardly_ever_alarms_and_a_slow_down_is_found(procedure):
    alarms = false_alarms(QUIET, procedure, 60, seed=1)
    assert (alarms.comparisons, alarms.hits, alarms.others) == (60, 0, {})
    found = detections(QUIET, MARGINS, procedure, 40, seed=2)
    assert found.hits >= 38
    assert found.others == {}
    assert 0.85 < found.lower < found.upper


def test_draws_follow_their_seed():
    procedure = SideBySide(MARGINS, 8)
    one, same, other = (procedure.changes(NOISY, {}, random.Random(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert detections(NOISY, MARGINS, procedure, 30, seed=1).hits < 15


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_a_change_half_way_is_an_alarm(procedure):
    """The procedures must see what is there: here every second base run is of another version."""
    changed = {key: dict(values) for key, values in QUIET.items()}
    for block in changed[ROUND]:
        if block > 30 if isinstance(procedure, Apart) else block % 2:
            changed[ROUND][block] *= 2
    found = false_alarms(changed, procedure, 30, seed=3)
    if isinstance(procedure, Apart):
        assert found.others.keys() == {ROUND}
    else:  # which of two neighbours is the base is drawn: it is noise, and not an alarm
        assert found.hits == 0


def test_twice_a_margin_that_can_be_told_is_found_in_noise_and_less_is_not():
    for procedure in (
        SideBySide(MARGINS, 10, told_side_by_side(LIVELY, 10)),
        Apart(MARGINS, 20, told_apart(LIVELY, 20)),
    ):
        assert detections(LIVELY, MARGINS, procedure, 40, seed=2).hits >= 36
        assert false_alarms(LIVELY, procedure, 40, seed=3).hits == 0
        within = {ROUND: 1 + procedure.told[ROUND].share / 2}
        changes = procedure.changes(LIVELY, within, random.Random(4))
        assert next(c for c in changes if key_of(c) == ROUND).verdict != "regressed"


def test_noise_hides_twice_the_usual_margin_and_that_is_told():
    procedure = SideBySide(MARGINS, 10, told_side_by_side(LIVELY, 10))
    assert detections(LIVELY, MARGINS, procedure, 30, seed=1).hits >= 27
    assert detections(LIVELY, MARGINS, procedure, 30, seed=1, told=False).hits <= 20


def test_only_what_exceeds_the_absolute_floor_can_be_made_worse():
    keys = injectable(QUIET, MARGINS)
    assert ROUND in keys
    assert Key("push", "rpc", "log_records_per_op") not in keys
    tiny = {ROUND: dict.fromkeys(range(1, 41), 1e-6)}
    assert injectable(tiny, MARGINS) == []
    with pytest.raises(ValueError, match="large enough"):
        detections(tiny, MARGINS, SideBySide(MARGINS, 8), 10, seed=0)


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_a_pool_that_is_too_small_is_refused(procedure):
    with pytest.raises(ValueError, match="too few"):
        procedure.changes(pool_of(12), {}, random.Random(0))


def test_no_block_stands_on_two_sides():
    class Spy(dict):
        def __init__(self, values, seen):
            super().__init__(values)
            self.seen = seen

        def __getitem__(self, block):
            self.seen.append(block)
            return super().__getitem__(block)

    for procedure in PROCEDURES:
        for seed in range(20):
            seen = []
            procedure.changes({ROUND: Spy(QUIET[ROUND], seen)}, {}, random.Random(seed))
            if isinstance(procedure, SideBySide):
                seen = seen[: len(seen) // 2]  # the base stands in pair and control
                assert len(set(seen)) >= 20
                continue
            assert len(set(seen)) == len(seen) >= 20
            assert set(seen) <= set(blocks_of(QUIET))
