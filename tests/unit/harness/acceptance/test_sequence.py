import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.acceptance.sequence import ALPHA, LOOKS, least_blocks, looks_at, spent


def test_the_usual_looks_spend_what_is_documented() -> None:
    looks = looks_at(LOOKS, 24, over=False)
    assert [look.n for look in looks] == [6, 10, 16, 24]
    assert [round(look.level, 4) for look in looks] == [0.0179, 0.0091, 0.0112, 0.0118]
    assert least_blocks(looks[0].level) == 6  # six blocks that all hold decide at once


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True).map(sorted), st.integers(0, 70))
def test_all_looks_together_spend_no_more_than_there_is(sizes: list[int], n: int) -> None:
    for over in (False, True):
        looks = looks_at(sizes, n, over=over)
        assert sum(look.level for look in looks) <= ALPHA + 1e-12
        assert all(look.level > 0 for look in looks)
        assert [look.n for look in looks] == sorted({look.n for look in looks})
        assert all(look.n <= n for look in looks)


def test_one_look_spends_everything() -> None:
    assert looks_at((5,), 5, over=False) == [(5, ALPHA)]
    assert looks_at((5,), 9, over=True) == [(5, ALPHA)]


def test_what_is_left_is_spent_where_no_more_blocks_come() -> None:
    assert looks_at(LOOKS, 8, over=False) == looks_at(LOOKS, 6, over=False)
    first, last = looks_at(LOOKS, 8, over=True)
    assert (last.n, last.level) == (8, pytest.approx(ALPHA - first.level))
    assert looks_at(LOOKS, 6, over=True) == [first]
    assert looks_at(LOOKS, 0, over=True) == []


def test_the_spending_function_rises_from_nothing_to_alpha() -> None:
    assert spent(0) == 0
    assert spent(1) == pytest.approx(ALPHA)
    assert spent(2) == pytest.approx(ALPHA)
    assert spent(0.25) < spent(0.5) < spent(0.9)


@pytest.mark.parametrize(("level", "blocks"), [(0.05, 5), (1 / 64, 6), (0.0179, 6), (0.0091, 7)])
def test_the_fewest_blocks_that_can_decide(level: float, blocks: int) -> None:
    assert least_blocks(level) == blocks
