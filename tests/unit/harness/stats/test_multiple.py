import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.multiple import holm

p_values = st.lists(st.floats(0, 1), max_size=12)


def test_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_test_needs_no_adjustment_and_none_gives_none() -> None:
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(p_values)
def test_adjusting_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    adjusted = holm(ps)
    for p, a in zip(ps, adjusted, strict=True):
        assert p <= a <= min(1, len(ps) * p)
    by_p = [a for _, a in sorted(zip(ps, adjusted, strict=True))]
    assert by_p == sorted(by_p)
    assert all(a == b for p, a in zip(ps, adjusted, strict=True) for q, b in zip(ps, adjusted, strict=True)
               if p == q)  # fmt: skip


@given(p_values.filter(bool), st.sampled_from([0.01, 0.05, 0.2]))
def test_it_rejects_what_the_step_down_procedure_rejects(ps: list[float], alpha: float) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if (len(ps) - rank) * ps[index] > alpha:
            break
        rejected.add(index)
    assert {index for index, a in enumerate(holm(ps)) if a <= alpha} == rejected


@given(p_values, st.randoms(use_true_random=False))
def test_the_order_they_come_in_means_nothing(ps: list[float], rng) -> None:
    places = list(range(len(ps)))
    rng.shuffle(places)
    adjusted = holm(ps)
    assert holm([ps[place] for place in places]) == [adjusted[place] for place in places]


@pytest.mark.slow
def test_the_chance_of_any_false_alarm_is_held() -> None:
    rng = np.random.default_rng(1)
    alarms = np.mean([min(holm(rng.random(8).tolist())) <= 0.05 for _ in range(10_000)])
    assert alarms == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=0.007)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="is no p-value"):
        holm([0.5, p])
