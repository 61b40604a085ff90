"""Floors timed beside an operation: they do the work that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats.histogram import Histogram
from harness.workloads.beside import Beside, Memcpy, TwoThreads, against_floor, beside_s, create_beside


def test_the_two_threads_average_the_updates_of_all_clients() -> None:
    floor = TwoThreads(model_bytes=4 * 1_000_003, clients=4)
    floor.work()
    np.testing.assert_array_equal(floor.average, np.full(1_000_003, 3.5, np.float32))
    floor.work()
    np.testing.assert_array_equal(floor.average, np.full(1_000_003, 3.5, np.float32))


@pytest.mark.parametrize("kind", [TwoThreads, Memcpy])
def test_every_work_is_timed_and_the_first_is_warm(kind: type[Beside]) -> None:
    class Counted(kind):
        works = 0

        def work(self) -> None:
            self.works += 1
            super().work()

    floor = Counted(4096, 2)
    assert floor.time() > 0
    assert floor.works == 2
    assert floor.time() > 0
    assert floor.works == 3


def test_a_floor_that_was_never_timed_makes_no_ratio() -> None:
    latency = Histogram()
    assert against_floor([100], latency) == {}
    latency.record(100)
    assert against_floor([], latency) == {}


def test_a_copy_copies() -> None:
    floor = Memcpy(4096, 1)
    floor.time()
    assert (floor._target == floor._source).all()


def test_the_ratio_is_of_medians() -> None:
    latency = Histogram()
    for value_ns in (1000, 2000, 9000):
        latency.record(value_ns)
    metrics = against_floor([100, 400, 1000], latency)
    assert metrics["floor_s"] == pytest.approx(400e-9)
    assert metrics["floor_ratio"] == pytest.approx(5.0, rel=0.01)


def test_a_floor_is_made_by_its_name() -> None:
    assert create_beside("", 4096, 1) is None
    assert isinstance(create_beside("memcpy", 4096, 1), Memcpy)
    with pytest.raises(ValueError, match="unknown floor 'memcopy': use one of memcpy, two_threads"):
        create_beside("memcopy", 4096, 1)


def test_the_time_of_a_floor_grows_with_its_work() -> None:
    assert beside_s("", 100_000_000, 4, 10) == 0.0
    assert beside_s("memcpy", 100_000_000, 4, 10) == pytest.approx(0.11)
    assert beside_s("two_threads", 100_000_000, 4, 10) == pytest.approx(1.32)
