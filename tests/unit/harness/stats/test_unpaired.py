import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from harness.stats.paired import Estimate
from harness.stats.unpaired import rank_sum_interval, rank_sum_p

confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])
# Halves have exact differences, so that ties are ties.
halves = st.integers(-40, 40).map(lambda i: i / 2)
few = st.lists(halves, min_size=1, max_size=5)
some = st.lists(halves, min_size=1, max_size=14)


def p_over_all_orders(x: list[float], y: list[float]) -> float:
    """P that a random order of the two samples has a U as large as theirs, over all orders."""
    together, seen = len(x) + len(y), sum(b > a for a in x for b in y)
    as_large = total = 0
    for places in itertools.combinations(range(together), len(y)):
        others = [place for place in range(together) if place not in places]
        as_large += sum(b > a for a in others for b in places) >= seen
        total += 1
    return as_large / total


@settings(max_examples=80)
@given(few, few)
def test_the_p_value_is_that_over_all_orders(x: list[float], y: list[float]) -> None:
    assert rank_sum_p(x, y) == pytest.approx(p_over_all_orders(x, y), abs=1e-15)


@settings(max_examples=60)
@given(st.sets(halves, min_size=2, max_size=30), st.integers(1, 29))
def test_the_p_value_is_that_of_scipy(values: set[float], cut: int) -> None:
    shuffled = np.random.default_rng(cut).permutation(sorted(values)).tolist()
    x, y = shuffled[:cut], shuffled[cut:]
    if x and y:
        expected = mannwhitneyu(y, x, alternative="greater", method="exact").pvalue
        assert rank_sum_p(x, y) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=150)
@given(some, some, halves, confidences)
def test_the_bounds_and_the_p_value_say_the_same(
    x: list[float], y: list[float], shift: float, confidence: float
) -> None:
    estimate = rank_sum_interval(x, y, confidence)
    orders = math.comb(len(x) + len(y), len(x))
    allowed = (1 - Fraction(confidence)) * orders
    assert (round(rank_sum_p(x, y, shift) * orders) <= allowed) == (estimate.low > shift)
    assert (round(rank_sum_p(y, x, -shift) * orders) <= allowed) == (estimate.high < shift)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.n == min(len(x), len(y))


@given(some, some)
def test_swapping_the_sides_mirrors_the_estimate(x: list[float], y: list[float]) -> None:
    there, back = rank_sum_interval(x, y), rank_sum_interval(y, x)
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)


@given(some, some, halves)
def test_moving_a_side_moves_the_estimate(x: list[float], y: list[float], offset: float) -> None:
    there, moved = rank_sum_interval(x, y), rank_sum_interval(x, [b + offset for b in y])
    assert moved == there._replace(
        value=there.value + offset, low=there.low + offset, high=there.high + offset
    )


def test_the_estimate_is_the_median_difference() -> None:
    assert rank_sum_interval([1.0, 2.0], [2.0, 5.0, 20.0]).value == 3.5  # of 0, 1, 3, 4, 18, 19


def test_ten_and_ten_use_the_tabulated_critical_value() -> None:
    # The table of the rank-sum test: for 10 and 10, P(U <= 27) = 0.0446 and P(U <= 28) = 0.0526.
    x = [2.0**i for i in range(10)]
    y = [3.0**i for i in range(10)]
    differences = sorted(b - a for a in x for b in y)
    estimate = rank_sum_interval(x, y)
    assert (estimate.low, estimate.high) == (differences[27], differences[-28])


@pytest.mark.parametrize(("m", "n", "bounded"), [(3, 3, True), (2, 5, True), (2, 4, False), (1, 19, True)])
def test_bounds_are_infinite_where_both_are_too_few(m: int, n: int, bounded: bool) -> None:
    estimate = rank_sum_interval([1.0] * m, [1.0] * n)
    wide = Estimate(0.0, -math.inf, math.inf, m, 0.95)
    assert estimate == (wide._replace(low=0.0, high=0.0) if bounded else wide)


def test_large_samples_stay_exact() -> None:
    x = np.linspace(-1, 1, 50)
    p = rank_sum_p(x.tolist(), (x + 1.5).tolist())
    assert p == pytest.approx(mannwhitneyu(x + 1.5, x, alternative="greater", method="exact").pvalue)
    assert 0 < p < 1e-12


@pytest.mark.parametrize("estimate", [rank_sum_interval, rank_sum_p])
def test_a_side_without_samples_or_with_nonsense_is_named(estimate) -> None:
    with pytest.raises(ValueError, match="the candidate has no samples"):
        estimate([1.0], [])
    with pytest.raises(ValueError, match="the base has no samples"):
        estimate([], [1.0])
    with pytest.raises(ValueError, match="sample 1 of the base is not finite"):
        estimate([1.0, math.nan], [1.0])


@pytest.mark.parametrize("confidence", [0.49, 1.0, math.nan])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence is"):
        rank_sum_interval([1.0], [1.0], confidence)
