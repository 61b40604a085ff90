import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.slope import theil_slope

NUMBERS = st.integers(-1000, 1000)


@given(st.lists(NUMBERS, min_size=2, max_size=20, unique=True), NUMBERS, NUMBERS)
def test_points_on_a_line_have_its_slope(x: list[int], slope: int, start: int) -> None:
    assert theil_slope(x, [start + slope * at for at in x]) == pytest.approx(slope)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points, rng) -> None:
    if len({x for x, _ in points}) < 2:
        return
    shuffled = rng.sample(points, len(points))
    one, other = (theil_slope(*zip(*some, strict=True)) for some in (points, shuffled))
    assert one == pytest.approx(other)


def test_a_quarter_of_the_points_may_be_anything() -> None:
    x = list(range(12))
    y = [2.0 * at for at in x]
    y[3], y[8], y[11] = 1e6, -1e6, 1e9
    assert theil_slope(x, y) == pytest.approx(2.0, abs=0.5)


def test_points_at_one_position_do_not_count_as_a_pair() -> None:
    assert theil_slope([0, 0, 1], [5, 5, 6]) == 1.0


def test_what_has_no_slope_is_refused() -> None:
    with pytest.raises(ValueError, match="2 positions and 1 values: there must be as many"):
        theil_slope([1, 2], [1])
    for x in ([], [1], [3, 3]):
        with pytest.raises(ValueError, match=f"{len(x)} points at one position have no slope"):
            theil_slope(x, x)
