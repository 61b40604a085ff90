import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from harness.stats.paired import (
    Estimate,
    hodges_lehmann,
    log_ratios,
    ratio,
    reduction,
    signed_rank_interval,
    signed_rank_p,
)

confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])
# Three decimals keep the Walsh averages either equal or far enough apart to look between them.
differences = st.lists(
    st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3)),
    min_size=1,
    max_size=8,
    unique=True,
)


def one_sided_p(d: list[float], centre: float) -> float:
    """P that random signs give a rank sum as large as that of ``d - centre``, over all 2**n sign patterns."""
    shifted = np.array(d) - centre
    ranks = np.abs(shifted).argsort().argsort() + 1
    seen = ranks[shifted > 0].sum()
    patterns = itertools.product([0, 1], repeat=len(d))
    return sum(np.dot(pattern, ranks) >= seen for pattern in patterns) / 2 ** len(d)


@settings(max_examples=60, deadline=None)
@given(differences, confidences)
def test_interval_inverts_the_test_over_all_sign_patterns(d: list[float], confidence: float) -> None:
    walsh = sorted({(a + b) / 2 for a, b in itertools.combinations_with_replacement(d, 2)})
    estimate = signed_rank_interval(d, confidence)
    # The p-value only changes at Walsh averages; look between them. A 1/pi offset avoids ties of ranks.
    edges = [walsh[0] - 1, *walsh, walsh[-1] + 1]
    for left, right in itertools.pairwise(edges):
        if right - left < 1e-6:
            continue
        centre = left + (right - left) / math.pi
        if len({abs(x - centre) for x in d}) < len(d):
            continue
        assert (one_sided_p(d, centre) > 1 - confidence) == (centre > estimate.low)
        assert (one_sided_p([-x for x in d], -centre) > 1 - confidence) == (centre < estimate.high)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=6, max_size=25, unique=True), confidences)
def test_bound_agrees_with_the_exact_test_of_scipy(d: list[float], confidence: float) -> None:
    low = signed_rank_interval(d, confidence).low
    for centre, rejected in ((low - 0.0137, True), (low + 1e-9, False)):
        shifted = np.array(d) - centre
        if math.isfinite(low) and len(set(np.abs(shifted))) == len(d) and 0 not in shifted:
            p = wilcoxon(shifted, alternative="greater", method="exact").pvalue
            assert p <= 1 - confidence + 1e-12 if rejected else p > 1 - confidence - 1e-12


def test_five_pairs_at_95_percent_are_bounded_by_the_worst_and_the_best() -> None:
    assert signed_rank_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == Estimate(3.0, 1.0, 5.0, 5, 0.95)


@pytest.mark.parametrize(
    ("n", "confidence", "bounded"), [(4, 0.95, False), (5, 0.95, True), (6, 0.99, False), (7, 0.99, True)]
)
def test_bounds_are_infinite_where_n_is_too_small(n: int, confidence: float, bounded: bool) -> None:
    estimate = signed_rank_interval([1.0] * n, confidence)
    assert estimate.value == 1.0
    assert (estimate.low, estimate.high) == ((1.0, 1.0) if bounded else (-math.inf, math.inf))


def test_ten_pairs_use_the_tabulated_critical_value() -> None:
    # The table of the signed-rank test: for n = 10, P(T <= 10) = 0.042 and P(T <= 11) = 0.053.
    d = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]
    walsh = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(d, 2))
    estimate = signed_rank_interval(d)
    assert (estimate.low, estimate.high) == pytest.approx((walsh[10], walsh[-11]))


def test_large_samples_stay_exact() -> None:
    estimate = signed_rank_interval(np.linspace(-1, 1, 80).tolist(), 0.999999)
    assert -1 < estimate.low < -0.3
    assert estimate.high == pytest.approx(-estimate.low)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.floats(-1e6, 1e6))
def test_hodges_lehmann_moves_with_its_sample_and_ignores_order(d: list[float], offset: float) -> None:
    value = hodges_lehmann(d)
    assert min(d) <= value <= max(d)
    assert hodges_lehmann(d[::-1]) == value
    assert hodges_lehmann([x + offset for x in d]) == pytest.approx(value + offset, abs=1e-6)
    assert hodges_lehmann([-x for x in d]) == pytest.approx(-value, abs=1e-9)


def test_hodges_lehmann_is_the_median_of_the_walsh_averages() -> None:
    assert hodges_lehmann([1.0, 2.0, 6.0]) == 2.75  # of 1, 1.5, 2, 3.5, 4, 6


def test_hodges_lehmann_of_the_smallest_number_is_that_number() -> None:
    assert hodges_lehmann([5e-324]) == 5e-324


def test_hodges_lehmann_shrugs_off_an_outlier() -> None:
    assert hodges_lehmann([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1000.0]) == 1.0


@pytest.mark.parametrize("d", [[], [1.0, math.nan], [math.inf]])
def test_nothing_is_estimated_from_nothing_or_from_what_is_not_finite(d: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no differences|difference \d is not finite"):
        signed_rank_interval(d)


@pytest.mark.parametrize("confidence", [0.49, 1.0, math.nan])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence is"):
        signed_rank_interval([1.0], confidence)


def test_ratio_is_on_the_scale_of_the_values() -> None:
    estimate = ratio([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 15.0])
    assert estimate == (pytest.approx(2.0), pytest.approx(2.0), pytest.approx(3.0), 5, 0.95)


def test_ratio_of_few_pairs_is_bounded_by_what_a_ratio_can_be() -> None:
    assert ratio([1.0, 1.0], [1.0, 1.0]) == (1.0, 0.0, math.inf, 2, 0.95)


@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=5, max_size=10))
def test_swapping_the_arms_inverts_the_ratio(pairs: list[tuple[float, float]]) -> None:
    base, cand = zip(*pairs, strict=True)
    forward, backward = ratio(base, cand), ratio(cand, base)
    assert backward.value == pytest.approx(1 / forward.value)
    assert (backward.low, backward.high) == pytest.approx((1 / forward.high, 1 / forward.low))


def test_equal_arms_have_ratio_one_and_no_width() -> None:
    values = [0.1, 0.2, 0.3, 0.7, 11.0]
    assert ratio(values, values) == (1.0, 1.0, 1.0, 5, 0.95)
    assert reduction(values, values) == (0.0, 0.0, 0.0, 5, 0.95)


@pytest.mark.parametrize("bad", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_log_ratios_name_the_bad_pair(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="pair 1 is"):
        log_ratios([1.0, bad[0]], [1.0, bad[1]])


@pytest.mark.parametrize("estimate", [log_ratios, ratio, reduction])
def test_arms_must_have_the_same_length_and_be_finite(estimate) -> None:
    with pytest.raises(ValueError, match="2 base values cannot be paired with 1"):
        estimate([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"pair 0 is .*not finite"):
        estimate([1.0], [math.nan])


def test_reduction_reaches_one_where_nothing_is_left() -> None:
    assert reduction([10.0, 20.0, 10.0, 20.0, 10.0], [0.0] * 5) == (1.0, 1.0, 1.0, 5, 0.95)


def test_reduction_is_bounded_by_the_worst_of_five_pairs() -> None:
    estimate = reduction([100.0] * 5, [1.0, 2.0, 0.0, 3.0, 150.0])
    assert (estimate.low, estimate.high) == (-0.5, 1.0)


def test_reduction_from_zero_is_undefined() -> None:
    with pytest.raises(ValueError, match=r"pair 1 is .*undefined"):
        reduction([1.0, 0.0], [0.0, 0.0])


@pytest.mark.parametrize("bad", [(-1.0, 1.0), (1.0, -1.0)])
def test_reduction_refuses_negative_values(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"pair 0 is .*at least 0"):
        reduction([bad[0]], [bad[1]])


@settings(max_examples=60)
@given(differences)
def test_the_p_value_is_that_over_all_sign_patterns(d: list[float]) -> None:
    centre = min(d) + 1 / math.pi  # off every tie of ranks, all of which have three decimals
    if len({abs(x - centre) for x in d}) == len(d):
        assert signed_rank_p(d, centre) == one_sided_p(d, centre)


# Halves have exact averages, so that ties are ties.
halves = st.integers(-40, 40).map(lambda i: i / 2)


@settings(max_examples=150)
@given(st.lists(halves, min_size=1, max_size=25), halves.map(lambda x: x / 2), confidences)
def test_the_bounds_and_the_p_value_say_the_same(d: list[float], centre: float, confidence: float) -> None:
    estimate = signed_rank_interval(d, confidence)
    allowed = 1 - Fraction(confidence)  # a p-value is a multiple of 2**-25, so a float holds it
    assert (Fraction(signed_rank_p(d, centre)) <= allowed) == (estimate.low > centre)
    assert (Fraction(signed_rank_p([-x for x in d], -centre)) <= allowed) == (estimate.high < centre)


@given(st.lists(halves, min_size=1, max_size=12), halves, halves)
def test_a_higher_centre_has_a_larger_p_value(d: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 < signed_rank_p(d, low) <= signed_rank_p(d, high) <= 1


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (5, 1 / 32), (10, 1 / 1024)])
def test_the_smallest_p_value_is_that_of_all_on_one_side(n: int, p: float) -> None:
    assert signed_rank_p([1.0] * n) == p
    assert signed_rank_p([-1.0] * n) == signed_rank_p([0.0] * n) == 1.0


@pytest.mark.parametrize("d", [[], [math.nan]])
def test_there_is_no_p_value_of_nothing(d: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no differences|not finite"):
        signed_rank_p(d)
