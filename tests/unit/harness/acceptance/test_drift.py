import random

import pytest

from harness.acceptance.drift import LARGEST, drift, ratio_p


def test_a_trend_is_a_drift() -> None:
    found = drift([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    assert found is not None
    assert found.p < 0.01
    assert 0 < found.r <= LARGEST
    assert found.widened > 2


@pytest.mark.parametrize("series", [[1.0, 9.0, 1.1, 8.0, 1.2, 7.0], [2.0] * 8, [1.0, 2.0, 3.0, 4.0, 5.0], []])
def test_neighbours_that_differ_equal_values_and_few_blocks_are_none(series: list[float]) -> None:
    assert drift(series) is None


def test_only_ranks_count() -> None:
    series = [1.0, 1.1, 1.3, 1.2, 1.5, 1.4, 1.6]
    assert drift(series) == drift([v**9 for v in series])
    assert drift([*series[:-1], 1e9]) == drift(series)


def test_independent_blocks_seldom_drift_and_autocorrelated_ones_often() -> None:
    rng = random.Random(5)

    def series(rho: float) -> list[float]:
        made = [rng.gauss(0, 1)]
        while len(made) < 24:
            made.append(rho * made[-1] + rng.gauss(0, (1 - rho * rho) ** 0.5))
        return made

    shares = {rho: sum(drift(series(rho)) is not None for _ in range(400)) / 400 for rho in (0.0, 0.5, 0.9)}
    assert 0.05 < shares[0.0] < 0.15  # the level is 0.10
    assert shares[0.5] > 0.6
    assert shares[0.9] > 0.95


def test_the_p_is_a_half_at_the_mean() -> None:
    assert ratio_p(2.0, 10) == pytest.approx(0.5)
    assert ratio_p(1.0, 24) < 0.01 < ratio_p(1.0, 6)
