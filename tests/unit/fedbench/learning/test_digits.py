"""The digits are scikit-learn's, split once; every example is dealt to exactly one client."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.learning.digits import client_share, load_digits


def deal(labels, count, alpha, seed):
    return [client_share(labels, index, count, alpha, seed) for index in range(count)]


def test_shapes_dtypes_and_ranges():
    digits = load_digits()
    assert digits.train_x.shape == (1437, 64)
    assert digits.test_x.shape == (360, 64)
    assert digits.train_x.dtype == digits.test_x.dtype == np.float32
    assert digits.train_y.dtype == digits.test_y.dtype == np.int64
    assert digits.train_x.min() == 0.0
    assert digits.train_x.max() == 1.0
    assert set(digits.test_y) == set(digits.train_y) == set(range(10))


def test_nobody_can_change_what_all_share():
    digits = load_digits()
    assert digits is load_digits()
    for array in digits:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.slow
def test_the_file_holds_scikit_learns_copy():
    from sklearn.datasets import load_digits as original

    pixels, labels = original(return_X_y=True)
    digits = load_digits()
    ours = np.column_stack(
        [
            np.concatenate([digits.train_x, digits.test_x]) * 16,
            np.concatenate([digits.train_y, digits.test_y]),
        ]
    )
    theirs = np.column_stack([pixels, labels])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


@pytest.mark.slow
@given(
    st.integers(1, 24).flatmap(
        lambda count: st.tuples(st.just(count), st.lists(st.integers(0, 9), min_size=count, max_size=300))
    ),
    st.sampled_from([0.01, 0.1, 0.5, 1.0, 100.0]),
    st.integers(0, 2**32),
)
def test_every_example_goes_to_exactly_one_client_and_nobody_goes_without(case, alpha, seed):
    count, labels = case
    shares = deal(np.array(labels), count, alpha, seed)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(labels)))
    assert min(map(len, shares)) >= min(8, len(labels) // count) >= 1


def test_the_deal_depends_on_seed_and_count_only():
    labels = load_digits().train_y
    first = deal(labels, 10, 0.5, 7)
    for share, again in zip(first, deal(labels, 10, 0.5, 7), strict=True):
        assert np.array_equal(share, again)
    assert any(
        not np.array_equal(share, other) for share, other in zip(first, deal(labels, 10, 0.5, 8), strict=True)
    )


def test_a_smaller_alpha_deals_less_evenly():
    labels = load_digits().train_y

    def largest_class_share(alpha):
        shares = deal(labels, 10, alpha, 7)
        return np.mean([np.bincount(labels[share]).max() / len(share) for share in shares])

    assert largest_class_share(0.1) > largest_class_share(0.5) > 0.25 > largest_class_share(1000.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0.5, 1), "count is 0: 4 examples can be dealt to 1 to 4 clients"),
        ((0, 5, 0.5, 1), "count is 5"),
        ((2, 2, 0.5, 1), "index is 2: with 2 clients it is one of 0 to 1"),
        ((-1, 2, 0.5, 1), "index is -1"),
        ((0, 2, 0.0, 1), "alpha is 0.0: it must be finite and above 0"),
        ((0, 2, float("inf"), 1), "alpha is inf"),
        ((0, 2, float("nan"), 1), "alpha is nan"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        client_share(np.array([0, 1, 0, 1]), *arguments)
