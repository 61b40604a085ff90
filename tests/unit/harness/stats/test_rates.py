import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from harness.stats.rates import rate_lower, rate_upper

confidences = st.sampled_from([0.5, 0.9, 0.95, 0.999])


@pytest.mark.parametrize(
    ("events", "trials", "confidence", "upper"),
    [
        (0, 300, 0.95, 0.0099361),
        (0, 60, 0.95, 0.0487029),
        (0, 1, 0.95, 0.95),
        (5, 10, 0.95, 0.7775589),
        (5, 10, 0.975, 0.8129140),  # the two-sided interval of the tables: 0.1871 to 0.8129
        (10, 10, 0.95, 1.0),
        (0, 1, 1 - 2**-53, 1.0),  # as near to 1 as a float comes
    ],
)
def test_known_upper_bounds(events: int, trials: int, confidence: float, upper: float) -> None:
    assert rate_upper(events, trials, confidence) == pytest.approx(upper, abs=5e-8)


def test_known_lower_bounds() -> None:
    assert rate_lower(5, 10, 0.975) == pytest.approx(0.1870860, abs=5e-8)
    assert rate_lower(300, 300) == pytest.approx(1 - 0.0099361, abs=5e-8)
    assert rate_lower(0, 10) == 0.0


@settings(max_examples=40)
@given(st.integers(1, 3000), st.floats(0, 1), confidences)
def test_bounds_are_those_of_the_beta_distribution(trials: int, share: float, confidence: float) -> None:
    events = round(share * trials)
    upper = 1.0 if events == trials else beta.ppf(confidence, events + 1, trials - events)
    lower = 0.0 if events == 0 else beta.ppf(1 - confidence, events, trials - events + 1)
    assert rate_upper(events, trials, confidence) == pytest.approx(upper, abs=1e-9)
    assert rate_lower(events, trials, confidence) == pytest.approx(lower, abs=1e-9)


@settings(max_examples=20)
@given(st.integers(1, 25), st.floats(0.001, 0.999), st.sampled_from([0.9, 0.95]))
def test_the_bound_covers_the_rate_as_often_as_promised(trials: int, rate: float, confidence: float) -> None:
    missed = sum(
        binom.pmf(k, trials, rate) for k in range(trials + 1) if rate_upper(k, trials, confidence) < rate
    )
    assert missed <= 1 - confidence + 1e-9


@settings(max_examples=20)
@given(st.integers(1, 40), confidences)
def test_more_events_raise_the_bound(trials: int, confidence: float) -> None:
    bounds = [rate_upper(events, trials, confidence) for events in range(trials + 1)]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize(
    ("events", "trials", "confidence"), [(0, 0, 0.9), (-1, 5, 0.9), (6, 5, 0.9), (1, 5, 0.0), (1, 5, 1.0)]
)
@pytest.mark.parametrize("bound", [rate_upper, rate_lower])
def test_arguments_out_of_range_are_refused(bound, events: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="at confidence"):
        bound(events, trials, confidence)
