from __future__ import annotations

import random

import pytest

from harness.regression.changes import key_of
from harness.regression.detectable import detectable_apart, detectable_side_by_side
from harness.regression.drawing import blocks_of
from harness.regression.margins import MARGINS
from harness.regression.resampling import (
    Apart,
    SideBySide,
    agreement,
    detections,
    false_alarms,
    injectable,
)
from harness.regression.verdict import Key
from tests.unit.harness.regression.pools import LIVELY, NOISY, QUIET, ROUND, pool_of

PROCEDURES = [SideBySide(MARGINS, 10), Apart(MARGINS, 12)]


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_the_same_code_hardly_ever_alarms_and_a_slow_down_is_found(procedure):
    alarms = false_alarms(QUIET, procedure, 60, seed=1)
    assert (alarms.comparisons, alarms.hits, alarms.others) == (60, 0, {})
    found = detections(QUIET, MARGINS, procedure, 40, seed=2, size="doubled")
    assert found.hits >= 38
    assert found.others == {}
    assert 0.85 < found.lower < found.upper


def test_draws_follow_their_seed():
    procedure = SideBySide(MARGINS, 8)
    one, same, other = (procedure.changes(NOISY, {}, random.Random(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert (
        detections(NOISY, MARGINS, procedure, 30, seed=1).hits < 15
    )  # twice the margin: it is not calibrated


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


CALIBRATED = [
    (LIVELY, SideBySide(MARGINS, 10, detectable_side_by_side(LIVELY, MARGINS, 10))),
    (NOISY, SideBySide(MARGINS, 10, detectable_side_by_side(NOISY, MARGINS, 10))),
    (LIVELY, Apart(MARGINS, 20, detectable_apart(LIVELY, MARGINS, 20))),
    (NOISY, Apart(MARGINS, 20, detectable_apart(NOISY, MARGINS, 20))),
]


@pytest.mark.parametrize(("pool", "procedure"), CALIBRATED)
def test_nine_of_ten_detectable_changes_are_found_and_the_same_code_does_not_alarm(pool, procedure):
    assert detections(pool, MARGINS, procedure, 50, seed=2).hits >= 45
    assert false_alarms(pool, procedure, 60, seed=3).hits == 0


def test_a_calibration_takes_no_power():
    """Twice as much is found in lively noise, calibrated or not: what is detectable raises no threshold."""
    blind, calibrated = SideBySide(MARGINS, 10), CALIBRATED[0][1]
    for procedure in (blind, calibrated):
        assert detections(LIVELY, MARGINS, procedure, 40, seed=4, size="doubled").hits >= 36
    within = {ROUND: 1.3}  # less than what is detectable
    assert calibrated.detectable[ROUND].share > 0.3
    verdicts = {
        next(c for c in calibrated.changes(LIVELY, within, random.Random(n)) if key_of(c) == ROUND).verdict
        for n in range(10)
    }
    assert "regressed" in verdicts


def test_two_comparisons_of_the_same_versions_agree_where_it_is_quiet():
    quiet = agreement(QUIET, MARGINS, SideBySide(MARGINS, 10), 12, seed=5)
    assert quiet == (12, 12, 1.0)
    noisy = agreement(NOISY, MARGINS, SideBySide(MARGINS, 10), 12, seed=5)
    assert noisy.agreed <= 12
    constant = {ROUND: dict.fromkeys(range(1, 61), 1e-6)}  # nothing can be made worse: all answers are no
    assert agreement(constant, MARGINS, SideBySide(MARGINS, 10), 4, seed=5) == (4, 4, None)


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
