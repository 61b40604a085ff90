from __future__ import annotations

import pytest

from harness.regression.detectable import detectable_apart, detectable_side_by_side, enough_blocks
from harness.regression.margins import MARGINS
from harness.regression.verdict import Key
from tests.unit.harness.regression.pools import LIVELY, NOISY, QUIET, ROUND, pool_of

HOPS = Key("push", "rpc", "latency_hops")
BOTH = pytest.mark.parametrize("detectable", [detectable_side_by_side, detectable_apart])


@BOTH
def test_what_can_be_detected_follows_from_the_spread(detectable):
    memory = Key("push_process", "memory", "memory_peak_bytes")
    quiet, lively, noisy = (detectable(pool, MARGINS, 12) for pool in (QUIET, LIVELY, NOISY))
    assert 0.1 < quiet[HOPS].share < 0.2 < lively[HOPS].share < 0.6 < noisy[HOPS].share
    assert 0.05 < noisy[memory].share < 0.08
    assert quiet[Key("push", "rpc", "log_records_per_op")].share == pytest.approx(0.011)  # it is constant
    assert detectable(QUIET, MARGINS, 12) == quiet


def test_more_blocks_detect_more_and_few_have_no_bound_so_sure():
    few, many = (detectable_side_by_side(LIVELY, MARGINS, blocks)[ROUND].share for blocks in (9, 15))
    assert many < few
    assert ROUND not in detectable_side_by_side(QUIET, MARGINS, 4)


def test_runs_made_apart_are_allowed_to_drift_in_times_that_have_no_floor_in_turn():
    apart = detectable_apart(QUIET, MARGINS, 12)
    assert apart[HOPS].share < 0.2 < 0.4 < apart[ROUND].share


@BOTH
def test_what_is_zero_now_and_then_has_none(detectable):
    flickering = {ROUND: {block: float(block % 5 == 0) for block in range(1, 61)}}
    assert detectable({**QUIET, **flickering}, MARGINS, 12).keys() == QUIET.keys() - {ROUND}


def test_blocks_follow_from_the_spread():
    assert enough_blocks(QUIET, MARGINS) == 10
    assert enough_blocks(NOISY, MARGINS) == 10  # the most that 60 base runs allow: two batches of trios
    assert enough_blocks(pool_of(96, spread=0.4), MARGINS) == 16


def test_what_is_constant_says_nothing_about_blocks():
    constant = {ROUND._replace(arm=str(number)): dict.fromkeys(range(1, 61), 1.0) for number in range(50)}
    for pool in (QUIET, NOISY):
        assert enough_blocks({**pool, **constant}, MARGINS) == enough_blocks(pool, MARGINS)


def test_outliers_are_detected_by_two_samples_and_drift_by_pairs():
    """Every twelfth run takes twice as long; or each is a twentieth slower than the one before."""
    spiked = {ROUND: {b: value * (2 if b % 12 == 0 else 1) for b, value in QUIET[ROUND].items()}}
    drifting = {ROUND: {b: value * 1.05**b for b, value in QUIET[ROUND].items()}}
    by_samples, by_pairs = (detectable_side_by_side(pool, MARGINS, 15)[ROUND] for pool in (spiked, drifting))
    assert not by_samples.paired
    assert by_pairs.paired
    assert by_samples.share < 0.2 < 1 < detectable_apart(drifting, MARGINS, 20)[ROUND].share
