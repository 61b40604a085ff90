from __future__ import annotations

import random

from harness.regression.changes import compare
from harness.regression.confirm import confirmed
from harness.regression.margins import MARGINS
from harness.regression.power import blind, power_text, undecided
from harness.regression.verdict import Key, Sides
from tests.fakes.comparisons import fake_change
from tests.unit.harness.regression.made import MARGINS as FEW

OPEN = [
    fake_change("round_s", "inconclusive", detectable=0.2),
    fake_change("latency_p99_s", "contaminated", detectable=0.9),
    fake_change("cpu_s_per_op", "inconclusive", detectable=3.0),
    fake_change("latency_p50_s", "inconclusive", detectable=None),
]


def test_nothing_is_said_where_all_is_decided():
    assert power_text([fake_change(verdict="unchanged"), fake_change()]) == ""
    assert undecided([fake_change(verdict="unchanged"), *OPEN]) == OPEN


def test_it_tells_how_many_are_undecided_and_what_would_have_been_found():
    assert power_text([fake_change(verdict="unchanged"), *OPEN]) == (
        "nothing decided for 4 of 5; a change of 90% or more would have been found in 2 of them; "
        "1 have too few samples for any"
    )
    assert power_text([OPEN[0], OPEN[0], OPEN[1]]) == (
        "nothing decided for 3 of 3; a change of 20% or more would have been found in 2 of them, "
        "one of 100% in 3"
    )


def test_only_steady_metrics_that_could_have_doubled_are_blind():
    strong, weak = (fake_change("latency_hops", "inconclusive", detectable=d) for d in (1.0, 1.01))
    zeros = fake_change("log_records_per_op", "inconclusive", ratio=None, margin=0.01, detectable=0.1)
    worse = fake_change("log_records_per_op", "inconclusive", ratio=None, margin=0.01, detectable=0.11)
    few = fake_change("memory_peak_bytes", "contaminated", detectable=None)
    assert blind([strong, weak, zeros, worse, few, *OPEN]) == [weak, worse, few]
    assert blind([fake_change("latency_hops", "unchanged", detectable=9.0)]) == []


def test_nine_of_ten_changes_of_the_size_that_the_samples_tell_are_confirmed():
    """The estimate from one comparison's own samples: noise of 15 %, twelve blocks a batch."""
    rng, key = random.Random(3), Key("push", "round", "round_s")

    def sides(factor):
        return Sides(*([f * rng.lognormvariate(0, 0.15) for _ in range(12)] for f in (1e-2, factor * 1e-2)))

    found, drawn = 0, 200
    for _ in range(drawn):
        (same,) = compare({key: sides(1.0)}, MARGINS)
        factor = 1 + same.detectable
        (change,) = confirmed(compare({key: sides(factor)}, MARGINS), {key: sides(factor)}, MARGINS)
        found += change.verdict == "regressed"
    assert found >= 0.9 * drawn
    assert "round_s" not in FEW  # the margins of this module are the real ones
