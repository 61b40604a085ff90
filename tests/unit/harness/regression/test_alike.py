from __future__ import annotations

from harness.regression.alike import alike
from tests.fakes.comparisons import fake_change


def moved(*ratios, metric="round_s"):
    return [fake_change(metric, arm=f"arm{n}", ratio=ratio) for n, ratio in enumerate(ratios)]


ALL = moved(1.28, 1.33, 1.3, 1.31, 1.27, 1.36, 1.29, 1.3)


def test_nearly_all_by_a_similar_factor_is_the_machine_unless_all_code_shares_it():
    text = alike(ALL)
    assert text.startswith("everything moved alike, 8 of 8 times and CPU times by about +30%: the machine?")
    assert "the interpreter, the event loop, a library" in text
    still = [*ALL, *moved(1.0, 1.01, metric="latency_hops")]
    assert alike(still).endswith("and nothing that is told by a floor in turn: the machine?")
    assert "by about -25%" in alike(moved(*[0.75] * 6))


def test_counts_and_what_did_not_move_say_nothing():
    counts = moved(*[1.0] * 9, metric="wakeups_per_op")
    assert alike([*ALL, *counts]) == alike(ALL)
    assert alike(counts) == alike([]) == ""
    assert alike(moved(*[1.02] * 10)) == ""


def test_one_cause_of_its_own_is_not_all():
    assert alike(moved(2.0, *[1.0] * 9)) == ""
    assert alike(moved(1.3, 1.3, 1.3, 1.3, 1.3, 3.0, 1.0, 0.8)) == ""  # five of eight are not nearly all
    assert alike(ALL[:5]) == ""  # too few to say anything of everything
