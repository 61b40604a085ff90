"""The mean is McMahan's, exact per dtype, and the same bit for bit for every order of arrival."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.learning import aggregation
from fedbench.learning.aggregation import StreamingAverage
from fedbench.tensors.model import ModelState


def model(**arrays):
    return ModelState.from_arrays({name: np.asarray(array) for name, array in arrays.items()})


def average(updates, template=None):
    stream = StreamingAverage(template or updates[0][0], len(updates))
    for position, (update, num_examples) in enumerate(updates):
        stream.add(position, update, num_examples)
    return stream.finish(1)


def random_model(seed):
    rng = np.random.default_rng(seed)
    return model(
        w=rng.standard_normal((3, 5)).astype(np.float32),
        d=rng.standard_normal(7),
        h=rng.standard_normal(4).astype(np.float16),
        c=(rng.standard_normal(2) + 1j * rng.standard_normal(2)).astype(np.complex64),
        i=rng.integers(-100, 100, 6),
        b=rng.random(5) < 0.5,
        scalar=np.float32(rng.standard_normal()),
        empty=np.zeros((0, 3), np.float32),
    )


def test_weights_updates_by_their_examples():
    result = average([(model(w=np.float32([1, 10])), 1), (model(w=np.float32([4, 40])), 2)])
    assert result["w"].tolist() == [3.0, 30.0]
    assert result.version == 1


def test_agrees_with_the_formula_in_higher_precision():
    updates = [(random_model(seed), seed * seed + 1) for seed in range(6)]
    result = average(updates)
    total = sum(num_examples for _, num_examples in updates)
    for name in ("w", "d", "h", "c", "scalar"):
        expected = sum(n * update[name].astype(np.complex128) for update, n in updates) / total
        tolerance = 4 * np.finfo(result[name].dtype).eps
        assert np.allclose(result[name], expected, rtol=tolerance, atol=tolerance), name
        assert result[name].dtype == updates[0][0][name].dtype


@st.composite
def arrivals(draw):
    count = draw(st.integers(1, 7))
    weights = draw(st.lists(st.none() | st.integers(1, 5000), min_size=count, max_size=count))
    if not any(weights):
        weights[0] = 1
    return weights, draw(st.permutations(range(count)))


@pytest.mark.slow
@given(arrivals())
def test_is_bit_identical_for_every_order_of_arrival(case):
    weights, order = case
    updates = [random_model(position) for position in range(len(weights))]

    def run(positions):
        stream = StreamingAverage(updates[0], len(weights))
        for position in positions:
            if weights[position] is None:
                stream.skip(position)
            else:
                stream.add(position, updates[position], weights[position])
        assert stream.num_examples == sum(filter(None, weights))
        return stream.finish(3)

    assert run(order) == run(range(len(weights)))


@given(st.integers(1, 100), st.integers(0, 1000))
def test_the_mean_of_equal_whole_numbers_is_exact(num_examples, value):
    update = model(w=np.float32([value]), i=np.int32([value]))
    assert average([(update, num_examples)] * 3) == update


def test_chunks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    updates = [
        (
            model(
                a=rng.standard_normal(100).astype(np.float32), z=rng.standard_normal(300).astype(np.float32)
            ),
            n,
        )
        for n in (3, 5, 2)
    ]
    whole = average(updates)
    monkeypatch.setattr(aggregation, "CHUNK_BYTES", 52)
    assert average(updates) == whole


def test_integers_are_rounded_to_the_nearest_halves_to_even():
    update, other = model(i=np.array([0, 1, 2, -4], np.int8)), model(i=np.array([1, 2, 4, -7], np.int8))
    assert average([(update, 1), (other, 1)])["i"].tolist() == [0, 2, 3, -6]


def test_integers_do_not_overflow():
    update = model(i=np.array([100], np.int8), u=np.array([2**40], np.uint64))
    assert average([(update, 30_000), (update, 30_000)]) == update


def test_booleans_follow_the_majority_of_examples():
    yes, no = model(b=np.array([True, True, False])), model(b=np.array([False, True, False]))
    assert average([(yes, 3), (no, 2)])["b"].tolist() == [True, True, False]
    assert average([(yes, 1), (no, 1)])["b"].tolist() == [False, True, False]


def test_float16_takes_more_examples_than_it_can_count():
    update = model(h=np.float16([1.5, -2.0]))
    assert average([(update, 1_000_000), (update, 2_000_000)]) == update


def test_infinities_and_nans_spread_without_a_warning():
    big, small = (
        model(w=np.float32([np.inf, np.nan, np.inf, 3e38])),
        model(w=np.float32([1, 1, -np.inf, 3e38])),
    )
    result = average([(big, 2), (small, 2)])["w"]
    assert result[0] == np.inf
    assert np.isnan(result[1:3]).all()
    assert result[3] == np.inf


def test_in_order_nothing_is_held():
    updates = [model(w=np.float32([n])) for n in range(3)]
    stream = StreamingAverage(updates[0], 3)
    gone = weakref.ref(updates[2])
    stream.add(0, updates[0], 1)
    assert stream.held == 0
    stream.add(2, updates.pop(), 1)
    assert (stream.held, gone() is None) == (1, False)
    stream.add(1, updates[1], 1)
    gc.collect()
    assert (stream.held, gone()) == (0, None)


def test_open_positions_count_as_skipped():
    stream = StreamingAverage(model(w=np.float32([0])), 4)
    stream.add(1, model(w=np.float32([6])), 2)
    stream.skip(2)
    assert stream.finish(9)["w"].tolist() == [6.0]


def test_a_position_counts_once():
    update = model(w=np.float32([1]))
    stream = StreamingAverage(update, 3)
    stream.add(0, update, 1)
    stream.add(2, update, 1)
    for settle in (
        lambda: stream.add(0, update, 1),
        lambda: stream.add(2, update, 1),
        lambda: stream.skip(0),
    ):
        with pytest.raises(ValueError, match="settled already: one update counts once"):
            settle()
    assert stream.num_examples == 1


@pytest.mark.parametrize("position", [-1, 2])
def test_a_position_must_exist(position):
    update = model(w=np.float32([1]))
    with pytest.raises(ValueError, match=f"position {position} does not exist: there are 0 to 1"):
        StreamingAverage(update, 2).add(position, update, 1)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (model(w=np.zeros((2, 3), np.float32)), "array 'b' is missing in the update"),
        (
            model(w=np.zeros((3, 2), np.float32), b=np.zeros(3, np.float32)),
            r"array 'w' is <f4 \(3, 2\) in the update and <f4 \(2, 3\) in the global model: .*model.draft",
        ),
        (model(w=np.zeros((2, 3)), b=np.zeros(3, np.float32)), r"array 'w' is <f8 \(2, 3\)"),
        (
            model(w=np.zeros((2, 3), np.float32), b=np.zeros(3, np.float32), x=[1]),
            r"array 'x' is <i8 \(1,\) in the update and missing in the global model",
        ),
        (model(b=np.zeros(3, np.float32), w=np.zeros((2, 3), np.float32)), "array 'w' has another place"),
    ],
)
def test_another_layout_is_refused_and_the_array_named(update, message):
    template = model(w=np.zeros((2, 3), np.float32), b=np.zeros(3, np.float32))
    stream = StreamingAverage(template, 2)
    with pytest.raises(ValueError, match=message):
        stream.add(0, update, 1)
    stream.add(0, template, 1)  # the refused update settled nothing


def test_weights_below_one_are_refused():
    update = model(w=np.float32([1]))
    with pytest.raises(ValueError, match="num_examples is 0"):
        StreamingAverage(update, 1).add(0, update, 0)


def test_needs_a_position_and_an_update_and_ends_once():
    update = model(w=np.float32([1]))
    with pytest.raises(ValueError, match="count is 0"):
        StreamingAverage(update, 0)
    with pytest.raises(ValueError, match="no update to average"):
        StreamingAverage(update, 2).finish(1)
    stream = StreamingAverage(update, 1)
    stream.add(0, update, 1)
    stream.finish(1)
    with pytest.raises(ValueError, match="no update to average"):
        stream.finish(2)
    with pytest.raises(ValueError, match="settled already"):
        stream.add(0, update, 1)
