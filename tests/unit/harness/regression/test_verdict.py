"""Every verdict on one metric, and what must not change it."""

import pytest

from harness.regression.changes import compare, key_of
from harness.regression.verdict import Key, Sides
from tests.unit.harness.regression.made import KEY, MARGINS, SPREAD, one, sides

PAIRED = pytest.mark.parametrize("paired", [True, False])


@PAIRED
@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.5, "regressed"), (1.0, "unchanged"), (1.03, "unchanged"), (1.09, "inconclusive"),
     (1.11, "inconclusive"), (0.92, "inconclusive"), (0.6, "improved")],
)  # fmt: skip
def test_the_verdict_follows_the_interval_and_the_margin(paired: bool, factor: float, verdict: str) -> None:
    change = one(sides(factor, paired=paired))
    assert change.verdict == verdict
    assert change.ratio == pytest.approx(factor, rel=0.01)
    assert change.ci_low < change.ratio < change.ci_high
    assert (change.unit, change.direction, change.n, change.margin) == ("s", "lower", 10, 0.10)
    assert key_of(change) == KEY


def test_values_are_medians_and_the_reason_tells_the_p_value() -> None:
    change = one(sides(2.0))
    assert change.base == pytest.approx(1.0025e-3)
    assert change.candidate == pytest.approx(2.005e-3)
    assert change.p == 1 / 1024
    assert change.reason == "beyond the margin, p = 0.00098"


def test_the_margin_counts_for_the_bound_not_for_the_estimate() -> None:
    """All of ten lie above the margin: then, and only then, is the smallest p-value reached."""
    base = [1e-3] * 10
    assert one(Sides(base, [1.1001e-3] * 10)).verdict == "regressed"
    assert one(Sides(base, [1.0999e-3] * 10)).verdict == "unchanged"
    assert one(Sides(base, [1.2e-3] * 5 + [1.05e-3] * 5)).verdict == "inconclusive"


@PAIRED
def test_for_some_metrics_more_is_better(paired: bool) -> None:
    key = Key("push", "digits", "accuracy")
    worse, better = (one(sides(factor, 0.4, paired=paired), key) for factor in (0.7, 1.4))
    assert (worse.verdict, better.verdict) == ("regressed", "improved")
    assert worse.direction == "higher"
    assert worse.ratio == pytest.approx(0.7, rel=0.01)
    assert worse.ci_low < 0.7 < worse.ci_high < 0.9
    assert better.ci_low > 1.1


@PAIRED
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_below_the_absolute_floor_nothing_is_said(paired: bool, factor: float) -> None:
    change = one(sides(factor, base=4e-6, paired=paired))
    assert (change.verdict, change.reason) == ("unchanged", "the difference is within the absolute floor")


@PAIRED
@pytest.mark.parametrize(
    ("base", "candidate", "verdict"),
    [
        ([0.0] * 8, [0.5] * 8, "regressed"),
        ([0.5] * 8, [0.0] * 8, "improved"),
        ([0.0] * 8, [0.0] * 8, "unchanged"),
        ([0.0] * 8, [0.005] * 8, "unchanged"),
        ([0.0] * 8, [0.0] * 3 + [0.5] * 5, "inconclusive"),
        ([-1.0] * 8, [1.0] * 8, "regressed"),
    ],
)
def test_where_a_sample_is_zero_differences_are_compared(
    paired: bool, base: list[float], candidate: list[float], verdict: str
) -> None:
    change = one(Sides(base, candidate, paired), Key("push", "idle", "log_records_per_op"))
    assert change.verdict == verdict
    assert (change.ratio, change.ci_low, change.ci_high, change.margin) == (None, None, None, 0.01)


@pytest.mark.parametrize(
    ("n", "paired", "verdict"),
    [(4, True, "inconclusive"), (5, True, "regressed"), (2, False, "inconclusive"), (3, False, "regressed")],
)
def test_too_few_samples_have_no_bound_and_no_verdict(n: int, paired: bool, verdict: str) -> None:
    change = one(sides(2.0, n=n, paired=paired))
    assert change.verdict == verdict
    if verdict == "inconclusive":
        assert change.reason == f"{n} samples are too few for a bound"
        assert (change.ci_low, change.ci_high) == (None, None)


def test_sides_of_stored_runs_may_differ_in_length() -> None:
    change = one(Sides([1e-3] * 20, [2e-3] * 3, paired=False))
    assert (change.verdict, change.n) == ("regressed", 3)
    with pytest.raises(ValueError, match="20 base values cannot be paired with 3"):
        one(Sides([1e-3] * 20, [2e-3] * 3, paired=True))


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "regressed"), (0.6, "improved")])
def test_what_drift_could_explain_is_contaminated(factor: float, verdict: str) -> None:
    def again(apart: float) -> list[tuple[float, float]]:
        return [(1e-3 * share, 1e-3 * share * apart) for share in SPREAD]

    assert one(sides(factor, control=again(1.15))).verdict == verdict
    explained = one(sides(factor, control=again(1.5)))
    assert explained.verdict == "contaminated"
    assert explained.reason == "the same code lay a factor 1.50 apart: that could explain it"
    assert one(sides(1.0, control=again(5.0))).verdict == "unchanged"


def test_drift_counts_where_a_sample_is_zero_too() -> None:
    key = Key("push", "idle", "log_records_per_op")
    zero_to_half = Sides([0.0] * 8, [0.5] * 8)
    assert one(zero_to_half._replace(control=[(0.0, 0.0)] * 8), key).verdict == "regressed"
    drifting = one(zero_to_half._replace(control=[(0.0, 0.5)] * 8), key)
    assert (drifting.verdict, drifting.reason) == (
        "contaminated",
        "the same code lay 0.5 1/op apart: that could explain it",
    )
    lost = sides(2.0, control=[(0.0, 1e-3), *[(1e-3, 1e-3)] * 9])  # a zero in the control only
    assert (one(lost).verdict, one(lost).ratio) == ("regressed", None)


def test_a_change_cannot_stand_on_a_control_that_was_lost() -> None:
    change = one(sides(2.0, control=()))
    assert change.verdict == "inconclusive"
    assert change.reason == "regressed, but the base was not measured again: drift could explain it"
    assert one(sides(1.0, control=())).verdict == "unchanged"


@PAIRED
def test_runs_made_apart_must_exceed_what_they_may_drift_by(paired: bool) -> None:
    assert one(sides(1.17, paired=paired)).verdict == "regressed"
    change = one(sides(1.17, paired=paired, drift=0.1))
    assert change.verdict == "contaminated"
    assert "fedbench ab" in change.reason
    assert one(sides(1.5, paired=paired, drift=0.1)).verdict == "regressed"


@PAIRED
def test_what_happens_in_some_blocks_only_is_never_unchanged(paired: bool) -> None:
    """Five warnings an operation, in so many of twenty blocks: the median is zero on both sides."""
    key = Key("push", "idle", "log_records_per_op")
    for odd in (1, 3, 9):
        change = one(Sides([0.0] * 20, [5.0] * odd + [0.0] * (20 - odd), paired), key)
        assert change.verdict == "inconclusive"
        assert one(Sides([5.0] * odd + [0.0] * (20 - odd), [0.0] * 20, paired), key).verdict == "inconclusive"
    assert "some blocks differ" in one(Sides([0.0] * 20, [5.0] + [0.0] * 19, paired), key).reason


@PAIRED
def test_noise_is_no_threshold_but_is_told(paired: bool) -> None:
    """The machine detects 60 %, and what is found below that counts all the same."""
    for factor, verdict in {
        1.01: "unchanged",
        1.09: "inconclusive",
        1.4: "regressed",
        0.5: "improved",
    }.items():
        change = one(sides(factor, paired=paired, detectable=0.6))
        assert (change.verdict, change.margin, change.detectable) == (verdict, 0.1, 0.6), factor
    assert one(sides(2.0, detectable=0.05)).detectable == 0.1  # never less than the margin


@PAIRED
def test_without_a_calibration_the_samples_tell_what_they_detect(paired: bool) -> None:
    """Noise of 2 % adds a multiple of its standard error to the margin, and drift all of itself."""
    quiet, loud = (
        one(sides(1.0, paired=paired)),
        one(Sides([1, 1.2, 1.5, 1.9] * 4, [1.4, 1, 1.8, 1.1] * 4, paired)),
    )
    assert 0.11 < quiet.detectable < 0.2 < 0.5 < loud.detectable
    assert one(sides(1.0, paired=paired, drift=0.5)).detectable == pytest.approx(
        1.5 * (1 + quiet.detectable) - 1
    )
    assert one(sides(1.0, n=2, paired=paired)).detectable is None  # nothing, however large
    assert one(Sides([1.0] * 8, [1.0] * 8, paired)).detectable is None  # decided: nothing is left to tell
    zeros = one(Sides([0.0] * 8, [0.0] * 7 + [0.005], paired), Key("push", "idle", "log_records_per_op"))
    assert zeros.detectable >= 0.01


def test_a_single_zero_does_not_turn_a_trifle_into_a_change() -> None:
    base = [0.001 * (1 + n / 1000) for n in range(20)]
    trifle = [0.0, *(value * 1.03 for value in base[1:])]
    doubled = [0.0, *(value * 2 for value in base[1:])]
    for paired in (True, False):
        (change,) = compare({KEY: Sides(base, trifle, paired)}, MARGINS)
        assert change.verdict != "regressed"
        (change,) = compare({KEY: Sides(base, doubled, paired)}, MARGINS)
        assert change.verdict == "regressed"


@PAIRED
def test_much_in_few_blocks_is_never_unchanged_where_it_is_counted(paired: bool) -> None:
    key = Key("push", "idle", "log_records_per_op")
    some = Sides([1.0] * 20, [1000.0] * 3 + [1.0] * 17, paired)
    change = one(some, key)
    assert (change.verdict, "some blocks differ" in change.reason) == ("inconclusive", True)
    assert one(some._replace(base=some.candidate, candidate=some.base), key).verdict == "inconclusive"
    assert one(some).verdict == "unchanged"  # an outlier of a time may be the machine's


@PAIRED
def test_what_came_from_nothing_is_told_whatever_the_share(paired: bool) -> None:
    key = Key("push", "idle", "log_records_per_op")
    for known in (None, 1.0, 9.0):
        assert one(Sides([0.0] * 10, [1000.0] * 10, paired, known), key).verdict == "regressed"


@PAIRED
def test_a_change_of_exactly_the_margin_is_none(paired: bool) -> None:
    key = Key("push", "idle", "log_records_per_op")
    for n in range(1, 400):
        exact = Sides([100.0 * n] * 8, [101.0 * n] * 8, paired)
        assert one(exact, key).verdict != "regressed"
    assert one(Sides([100.0] * 8, [101.1] * 8, paired), key).verdict == "regressed"


def test_a_control_of_few_blocks_is_lost() -> None:
    for blocks, verdict in ((9, "regressed"), (8, "inconclusive")):
        assert one(sides(2.0, control=[(1e-3, 1e-3)] * blocks)).verdict == verdict
