from __future__ import annotations

import random

import pytest

from harness.regression.drawing import blocks_of, stretches, trios
from tests.unit.harness.regression.pools import QUIET, ROUND


def test_blocks_are_those_of_any_metric():
    assert blocks_of({ROUND: {3: 1.0, 1: 1.0}, ROUND._replace(arm="other"): {2: 1.0}}) == [1, 2, 3]
    assert blocks_of(QUIET) == list(range(1, 61))


def test_trios_are_disjoint_neighbours_in_any_order():
    seen, orders = set(), set()
    for seed in range(200):
        found = trios([1, 2, 3, 5, 8, 9, 10], random.Random(seed))
        seen.add(tuple(tuple(sorted(trio)) for trio in found))
        orders |= set(found)
    assert seen == {((1, 2, 3), (5, 8, 9)), ((2, 3, 5), (8, 9, 10))}
    assert len([trio for trio in orders if set(trio) == {1, 2, 3}]) == 6
    assert len(trios(list(range(120)), random.Random(0))) == 40


def test_stretches_are_whole_disjoint_and_either_comes_first():
    first = set()
    for seed in range(30):
        one, other = stretches(list(range(12)), 4, random.Random(seed))
        assert not set(one) & set(other)
        for stretch in (one, other):
            assert list(stretch) == list(range(stretch[0], stretch[0] + 4))
        first.add(one[0] < other[0])
    assert first == {True, False}
    with pytest.raises(ValueError, match="7 base runs are too few for two runs of 4 blocks"):
        stretches(list(range(7)), 4, random.Random(0))
