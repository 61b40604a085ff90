import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats.histogram import Histogram

LARGEST = 2**63 - 1
durations = st.one_of(st.integers(0, 5000), st.integers(0, 10**10), st.integers(0, LARGEST))
samples = st.lists(durations, max_size=60)


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(samples)
def test_recording_many_is_recording_each(values: list[int]) -> None:
    many = Histogram()
    many.record_many(np.array(values, np.int64))
    assert many.to_dict() == histogram_of(values).to_dict()


def test_arrays_of_any_shape_and_integer_type_are_recorded() -> None:
    histogram = Histogram()
    histogram.record_many(np.array([[1, 2], [3, 4]], np.uint16))
    assert (histogram.count, histogram.sum_ns) == (4, 10)


def test_sums_beyond_63_bits_are_exact() -> None:
    histogram = Histogram()
    histogram.record_many(np.full(1000, LARGEST))
    assert histogram.sum_ns == 1000 * LARGEST


@pytest.mark.parametrize("values", [np.array([1.0]), np.array([1], np.uint64)])
def test_arrays_that_do_not_fit_int64_are_refused(values: np.ndarray) -> None:
    with pytest.raises(TypeError):
        Histogram().record_many(values)


@pytest.mark.parametrize("value", [-1, LARGEST + 1])
def test_durations_out_of_range_are_refused(value: int) -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="outside"):
        histogram.record(value)
    assert histogram.count == 0


def test_an_array_with_a_negative_duration_is_refused_whole() -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="-3 ns is negative"):
        histogram.record_many(np.array([5, -3]))
    assert histogram.to_dict() == Histogram().to_dict()


@settings(max_examples=200)
@given(st.lists(durations, min_size=1, max_size=60), st.floats(0, 1))
def test_percentiles_are_those_of_the_values_within_a_thousandth(values: list[int], p: float) -> None:
    # A larger array is used by numpy in float64; sort and take the rank in integers to compare exactly.
    exact = int(np.quantile(np.array(sorted(values), dtype=np.int64), p, method="inverted_cdf"))
    got = histogram_of(values).percentile(p)
    assert float(exact) <= got <= exact * 1.001 + 1e-9


def test_percentiles_of_a_realistic_sample() -> None:
    values = np.random.default_rng(7).lognormal(12, 1, 20_000).astype(np.int64)
    histogram = Histogram()
    histogram.record_many(values)
    for p in (0.5, 0.9, 0.99, 0.999):
        assert histogram.percentile(p) == pytest.approx(
            np.quantile(values, p, method="inverted_cdf"), rel=1e-3
        )
    assert len(histogram.to_dict()["indices"]) < 10_000


@given(st.lists(durations, min_size=1, max_size=60))
def test_count_sum_and_extremes_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert (histogram.count, histogram.sum_ns) == (len(values), sum(values))
    assert (histogram.min_ns, histogram.max_ns) == (min(values), max(values))
    assert histogram.percentile(1) == float(max(values))


def test_values_below_2048_are_kept_exactly() -> None:
    histogram = histogram_of(list(range(2048)))
    assert [histogram.value_at_rank(rank) for rank in (1, 2, 1000, 2048)] == [0.0, 1.0, 999.0, 2047.0]


@given(samples, samples, samples)
def test_merging_is_recording_together_in_any_grouping(a: list[int], b: list[int], c: list[int]) -> None:
    left = histogram_of(a)
    left.merge(histogram_of(b))
    left.merge(histogram_of(c))
    tail = histogram_of(b)
    tail.merge(histogram_of(c))
    right = histogram_of(a)
    right.merge(tail)
    assert left.to_dict() == right.to_dict() == histogram_of(a + b + c).to_dict()
    assert tail.to_dict() == histogram_of(b + c).to_dict()


@given(samples)
def test_a_histogram_survives_json(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))).to_dict() == histogram.to_dict()


def test_a_rebuilt_histogram_goes_on_counting() -> None:
    histogram = Histogram.from_dict(histogram_of([5, 5000]).to_dict())
    histogram.record(1)
    assert (histogram.min_ns, histogram.max_ns, histogram.count) == (1, 5000, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear_bits": 7}, "7 linear bits"),
        ({"count": 3}, "contradict"),
        ({"min_ns": None}, "contradict"),
        ({"indices": [5, 5]}, "contradict"),
        ({"indices": [9, 5]}, "contradict"),
        ({"indices": [5]}, "zip"),
    ],
)
def test_stored_histograms_that_contradict_themselves_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Histogram.from_dict(histogram_of([5, 9]).to_dict() | change)


@given(st.lists(durations, min_size=1, max_size=60))
def test_the_distribution_counts_exactly_up_to_each_step(values: list[int]) -> None:
    steps_ns, fractions = histogram_of(values).cdf()
    assert (np.diff(steps_ns) > 0).all() or max(values) > 2**53
    assert fractions[-1] == 1.0
    for step_ns, fraction in zip(steps_ns, fractions, strict=True):
        if step_ns < 2**53:
            assert fraction == sum(value <= step_ns for value in values) / len(values)


def test_an_empty_histogram_has_a_distribution_without_steps_and_nothing_else() -> None:
    histogram = Histogram()
    steps_ns, fractions = histogram.cdf()
    assert steps_ns.shape == fractions.shape == (0,)
    for ask in (lambda: histogram.min_ns, lambda: histogram.max_ns):
        with pytest.raises(ValueError, match="empty"):
            ask()
    with pytest.raises(ValueError, match="empty"):
        histogram.percentile(0.5)


@pytest.mark.parametrize("p", [-0.1, 1.1, 99, float("nan")])
def test_percentiles_are_fractions(p: float) -> None:
    with pytest.raises(ValueError, match="not a fraction"):
        histogram_of([1]).percentile(p)


@pytest.mark.parametrize("rank", [0, 3])
def test_ranks_that_do_not_exist_are_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of 2"):
        histogram_of([1, 2]).value_at_rank(rank)
