from __future__ import annotations

from harness.regression.duration import batch_s, beforehand, left, minutes


def test_a_batch_takes_its_blocks_on_all_sides_and_longer_on_a_slower_machine() -> None:
    assert batch_s(10, 8.5, 1.0) == 300
    assert batch_s(10, 8.5, 2.0) == 600
    assert batch_s(10, 8.5, 0.5) == 300  # a faster one waits as long: most cells wait


def test_it_is_told_beforehand_and_what_is_left_after_each_block() -> None:
    said = beforehand(12, 13.5, 1.0)
    assert said == "12 blocks of 3 runs: about 9 min, and up to 14 min if something has to be confirmed"
    assert left(0, 12, 0.0) == ""
    assert left(3, 12, 60.0) == ", about 3 min left"


def test_times_are_rounded_for_people() -> None:
    assert [minutes(s) for s in (0.2, 59.6, 91.0, 3600.0)] == ["1 s", "60 s", "2 min", "60 min"]
