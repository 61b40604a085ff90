from __future__ import annotations

from harness.regression.detectable import enough_blocks, told_apart, told_side_by_side
from harness.regression.margins import MARGINS
from harness.regression.verdict import Key
from tests.unit.harness.regression.pools import LIVELY, NOISY, QUIET, ROUND


def test_the_least_that_can_be_told_follows_from_the_spread():
    memory = Key("push_process", "memory", "memory_peak_bytes")
    for told in (told_side_by_side, told_apart):
        quiet, lively, noisy = (told(pool, 12) for pool in (QUIET, LIVELY, NOISY))
        assert 0 < quiet[ROUND].share < 0.06 < 0.1 < lively[ROUND].share < 0.6
        assert noisy[ROUND].share > 1
        assert noisy[memory].share < 0.02
        assert quiet[Key("push", "rpc", "log_records_per_op")].share == 0.0  # it is constant
        assert told(QUIET, 12) == quiet
    assert ROUND not in told_side_by_side(QUIET, 4)  # no bound so sure
    assert told_side_by_side(LIVELY, 15)[ROUND].share < told_side_by_side(LIVELY, 9)[ROUND].share


def test_what_is_zero_now_and_then_has_none():
    flickering = {ROUND: {block: float(block % 5 == 0) for block in range(1, 61)}}
    for told in (told_side_by_side, told_apart):
        assert told({**QUIET, **flickering}, 12).keys() == QUIET.keys() - {ROUND}


def test_blocks_follow_from_the_spread():
    assert enough_blocks(QUIET, MARGINS) == 8
    assert enough_blocks(NOISY, MARGINS) == 10  # the most that 60 base runs allow: two batches of trios


def test_what_is_constant_says_nothing_about_blocks():
    constant = {ROUND._replace(arm=str(number)): dict.fromkeys(range(1, 61), 1.0) for number in range(50)}
    for pool in (QUIET, NOISY):
        assert enough_blocks({**pool, **constant}, MARGINS) == enough_blocks(pool, MARGINS)


def test_outliers_are_told_by_two_samples_and_drift_by_pairs():
    """Every twelfth run takes twice as long; or each is a twentieth slower than the one before."""
    spiked = {ROUND: {b: value * (2 if b % 12 == 0 else 1) for b, value in QUIET[ROUND].items()}}
    drifting = {ROUND: {b: value * 1.05**b for b, value in QUIET[ROUND].items()}}
    by_samples, by_pairs = told_side_by_side(spiked, 10)[ROUND], told_side_by_side(drifting, 10)[ROUND]
    assert not by_samples.paired
    assert by_pairs.paired
    assert by_samples.share < 0.2 < 0.3 < told_apart(drifting, 20)[ROUND].share
