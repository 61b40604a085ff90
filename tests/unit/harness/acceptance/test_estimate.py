import math

import pytest

from harness.acceptance.estimate import Series, Undecidable, bounded, estimate, series_of
from harness.acceptance.samples import Samples
from tests.unit.harness.acceptance.cells import cell, criterion


def test_the_centre_of_a_limit_is_that_of_the_logarithms() -> None:
    found = estimate(criterion("limit", 3.0), Series((1.0, 100.0, 1.0, 100.0, 1.0, 100.0)), 0.05)
    assert found.value == pytest.approx(10.0)


def test_among_zeros_the_mean_counts_as_well() -> None:
    found = estimate(criterion("limit"), Series((0.0,) * 23 + (24.0,)), 0.05)
    assert (found.value, found.high) == (0.0, 1.0)


def test_too_few_blocks_have_no_bounds() -> None:
    for kind in ("limit", "reduction", "ratio"):
        series = Series((1.0,) * 4, None if kind == "limit" else (2.0,) * 4)
        assert not bounded(estimate(criterion(kind), series, 0.05))
        assert bounded(estimate(criterion(kind), Series((1.0,) * 5, series.base and (2.0,) * 5), 0.05))


def test_only_blocks_with_both_arms_are_compared() -> None:
    samples = Samples([*cell("polling", [4.0, None, 8.0]), *cell("push", [1.0, 2.0, None])])
    (series,) = series_of(criterion("reduction"), samples)
    assert series == Series((1.0,), (4.0,), blocks=(1,))
    assert (series.n, series.relative, series.level) == (1, [0.25], 4.0)


def test_a_part_keeps_both_sides() -> None:
    assert Series((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "x").part(1, 9) == Series((2.0, 3.0), (5.0, 6.0), "x")


def test_a_ratio_of_zero_is_below_the_resolution() -> None:
    samples = Samples([*cell("polling", [4.0]), *cell("push", [0.0])])
    with pytest.raises(Undecidable, match="push measured zero: cpu_cores is below its resolution"):
        series_of(criterion("ratio"), samples)
    assert math.isclose(series_of(criterion("reduction"), samples)[0].relative[0], 0.0)
