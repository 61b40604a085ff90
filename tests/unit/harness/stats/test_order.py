import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from harness.stats.histogram import Histogram
from harness.stats.order import percentile_upper_bound, percentile_upper_rank

quantiles = st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999])
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.integers(0, 400), st.integers(0, 1_000_000)), quantiles, confidences)
def test_the_rank_is_the_smallest_that_reaches_the_confidence(n: int, p: float, confidence: float) -> None:
    rank = percentile_upper_rank(n, p, confidence)
    if rank is None:
        assert binom.cdf(n - 1, n, p) < confidence + 1e-8
    else:
        assert binom.cdf(rank - 1, n, p) >= confidence - 1e-8
        assert rank == 1 or binom.cdf(rank - 2, n, p) < confidence + 1e-8


@pytest.mark.parametrize(("p", "smallest"), [(0.99, 299), (0.999, 2995), (0.5, 5)])
def test_below_a_number_of_samples_there_is_no_bound(p: float, smallest: int) -> None:
    assert percentile_upper_rank(smallest - 1, p, 0.95) is None
    assert percentile_upper_rank(smallest, p, 0.95) == smallest


def test_more_samples_bound_more_tightly() -> None:
    assert [percentile_upper_rank(n) for n in (299, 1000, 1_000_000)] == [299, 996, 990_164]


def test_the_bound_is_an_order_statistic() -> None:
    values = np.sort(np.random.default_rng(3).exponential(1.0, 1000))
    assert percentile_upper_bound(values) == values[995]
    assert percentile_upper_bound(values.tolist()[:298]) is None
    assert percentile_upper_bound([]) is None


def test_the_bound_of_a_histogram_is_that_of_its_values_rounded_up() -> None:
    values = np.sort(np.random.default_rng(4).lognormal(14, 1, 1000).astype(np.int64))
    histogram = Histogram()
    assert percentile_upper_bound(histogram) is None
    histogram.record_many(values)
    bound = percentile_upper_bound(histogram)
    assert bound is not None
    assert values[995] <= bound <= values[995] * 1.001


@pytest.mark.slow
def test_the_bound_covers_the_true_percentile_as_often_as_promised() -> None:
    rng = np.random.default_rng(5)
    true_p90 = -np.log(0.1)
    runs = [percentile_upper_bound(np.sort(rng.exponential(1.0, 60)), 0.9, 0.95) for _ in range(4000)]
    covered = np.mean([bound is not None and bound >= true_p90 for bound in runs])
    promised = binom.cdf((percentile_upper_rank(60, 0.9, 0.95) or 0) - 1, 60, 0.9)
    assert covered == pytest.approx(promised, abs=0.015)


def test_samples_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="ascending"):
        percentile_upper_bound([2.0, 1.0])


@pytest.mark.parametrize(
    ("n", "p", "confidence"), [(-1, 0.5, 0.9), (1, 0.0, 0.9), (1, 1.0, 0.9), (1, 0.5, 0.4), (1, 0.5, 1.0)]
)
def test_arguments_out_of_range_are_refused(n: int, p: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        percentile_upper_rank(n, p, confidence)
