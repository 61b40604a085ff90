from __future__ import annotations

from harness.gate.least import enough_blocks, least_apart, least_side_by_side
from harness.gate.margins import MARGINS
from harness.gate.verdicts import Key
from tests.unit.harness.gate.pools import LIVELY, NOISY, QUIET, ROUND


def test_the_least_that_can_be_told_follows_from_the_spread():
    memory = Key("push_process", "memory", "memory_peak_bytes")
    for told in (least_side_by_side, least_apart):
        quiet, lively, noisy = (told(pool, 12) for pool in (QUIET, LIVELY, NOISY))
        assert 0 < quiet[ROUND] < 0.06 < 0.1 < lively[ROUND] < 0.6
        assert noisy[ROUND] > 1
        assert noisy[memory] < 0.02
        assert quiet[Key("push", "rpc", "log_records_per_op")] == 0.0  # it is constant
        assert told(QUIET, 12) == quiet
    assert ROUND not in least_side_by_side(QUIET, 4)  # no bound so sure
    assert least_side_by_side(LIVELY, 15)[ROUND] < least_side_by_side(LIVELY, 9)[ROUND]


def test_what_is_zero_now_and_then_has_none():
    flickering = {ROUND: {block: float(block % 5 == 0) for block in range(1, 61)}}
    for told in (least_side_by_side, least_apart):
        assert told({**QUIET, **flickering}, 12).keys() == QUIET.keys() - {ROUND}


def test_blocks_follow_from_the_spread():
    assert enough_blocks(QUIET, MARGINS) == 8
    assert enough_blocks(NOISY, MARGINS) == 10  # the most that 60 base runs allow: two batches of trios


def test_what_is_constant_says_nothing_about_blocks():
    constant = {ROUND._replace(arm=str(number)): dict.fromkeys(range(1, 61), 1.0) for number in range(50)}
    for pool in (QUIET, NOISY):
        assert enough_blocks({**pool, **constant}, MARGINS) == enough_blocks(pool, MARGINS)
