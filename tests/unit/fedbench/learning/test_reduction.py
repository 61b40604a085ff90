"""Reduction: the same mean bit for bit, on any number of threads, and nothing held or left running."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.learning import reduction
from fedbench.learning.aggregation import StreamingAverage
from fedbench.learning.reduction import Reduction
from fedbench.tensors.model import ModelState

DTYPES = st.sampled_from(["?", "i4", "u1", "f2", "f4", "f8", "c8"])


def model(arrays, seed):
    rng = np.random.default_rng(seed)
    return ModelState.from_arrays(
        {f"a{i}": rng.normal(0, 50, shape).astype(dtype) for i, (shape, dtype) in enumerate(arrays)}
    )


def updates_of(arrays, count):
    return [(model(arrays, seed), seed % 3 + 1) for seed in range(count)]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 400), DTYPES), min_size=1, max_size=4), st.integers(1, 5))
def test_any_number_of_parts_gives_the_same_bits(arrays, parts):
    updates = updates_of(arrays, 4)
    whole = StreamingAverage(updates[0][0], 4)
    divided = StreamingAverage(updates[0][0], 4)
    for position, (update, weight) in enumerate(updates):
        whole.add(position, update, weight)
        divided.offer(position, (update, weight))
        turn = divided.turn()
        for part in reversed(range(parts)):
            divided.reduce(turn, part, parts)
    for part in range(parts):
        divided.divide(part, parts)
    assert divided.freeze(1) == whole.finish(1)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
async def test_large_models_are_reduced_by_threads_to_the_same_bits(monkeypatch, threads, order):
    monkeypatch.setattr(reduction, "LEAST_BYTES", 1)
    monkeypatch.setattr(reduction, "THREADS", threads)
    updates = updates_of([((300, 7), "f4"), (3, "f8"), (1, "i4")], 3)
    expected = StreamingAverage(updates[0][0], 4)
    made = Reduction(updates[0][0], 4)
    seen = set()
    original = made.average.reduce
    made.average.reduce = lambda *args: (seen.add(threading.current_thread().name), original(*args))
    for position, (update, weight) in enumerate(updates):
        expected.add(position, update, weight)
    for position in order:
        if position == 3:
            made.skip(3)
        else:
            made.add(position, *updates[position])
        await asyncio.sleep(0)
    assert await made.finish(5) == expected.finish(5)
    assert all(name.startswith("fedbench-reduce") for name in seen)
    await made.close()
    await made.close()


async def test_small_models_need_no_thread():
    made = Reduction(model([(10, "f4")], 0), 2)
    made.add(0, model([(10, "f4")], 1), 1)
    made.skip(1)
    assert made._executor is None
    assert (await made.finish(1)).version == 1
    await made.close()


async def test_an_update_is_let_go_once_it_is_reduced(monkeypatch):
    monkeypatch.setattr(reduction, "LEAST_BYTES", 1)
    made, update = Reduction(model([(10, "f4")], 0), 2), model([(10, "f4")], 1)
    gone = weakref.ref(update)
    made.add(0, update, 1)
    del update
    await made.settled()
    gc.collect()
    assert gone() is None
    made.skip(1)
    await made.finish(1)
    await made.close()


async def test_cancelling_waits_until_no_thread_touches_the_memory(monkeypatch):
    monkeypatch.setattr(reduction, "LEAST_BYTES", 1)
    made = Reduction(model([(10, "f4")], 0), 1)
    begun, go, ended = threading.Event(), threading.Event(), []

    def slow(turn, part, parts):
        begun.set()
        go.wait(10)
        ended.append(part)

    made.average.reduce = slow
    made.add(0, model([(10, "f4")], 1), 1)
    waiting = asyncio.create_task(made.settled())
    while not begun.is_set():
        await asyncio.sleep(0.001)
    waiting.cancel()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(ended) == reduction.THREADS
    await made.close()


async def test_what_does_not_fit_is_refused_at_once_and_a_mean_of_nothing_too(monkeypatch):
    monkeypatch.setattr(reduction, "LEAST_BYTES", 1)
    made = Reduction(model([(10, "f4")], 0), 1)
    with pytest.raises(ValueError, match="'a0' is"):
        made.add(0, model([(11, "f4")], 1), 1)
    made.skip(0)
    with pytest.raises(ValueError, match="no update"):
        await made.finish(1)
    await made.close()
