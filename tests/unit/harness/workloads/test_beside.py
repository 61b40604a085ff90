"""Floors timed beside an operation: they do the work that they stand for."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harness.stats.histogram import Histogram
from harness.workloads.beside import (
    Beside,
    Memcpy,
    Pace,
    TwoThreads,
    against_floor,
    beside_s,
    create_beside,
    create_reference,
    floor_cpu_s,
    spoilt_by,
)


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


def test_the_pace_is_timed_by_its_own_cpu_and_nothing_else() -> None:
    class Waiting(Pace):
        def work(self) -> None:
            time.sleep(0.05)  # what the machine may do to it
            super().work()

    assert 0 < Waiting(4096, 2).time() < 40_000_000


def test_the_pace_is_always_the_same_work_however_large_the_model() -> None:
    few, many = Pace(64, 1), Pace(1 << 24, 100)
    assert 0.2 < min(few.time() for _ in range(20)) / min(many.time() for _ in range(20)) < 5


def test_a_floor_spoils_its_window_but_for_what_is_known_of_the_pace() -> None:
    assert spoilt_by("") == {}
    assert {"cpu_s_per_op", "wakeups_per_op", "ops_per_s"} < spoilt_by("memcpy").keys()
    spared = spoilt_by("memcpy").keys() - spoilt_by("pace").keys()
    assert spared == {"cpu_s_per_op", "wakeups_per_op"}
    assert floor_cpu_s("pace", [1_000_000, 2_000_000]) == pytest.approx(0.003)
    assert floor_cpu_s("memcpy", [1_000_000]) is None


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


def test_equal_times_are_one_another_s_floor_even_if_their_number_is_even() -> None:
    times_ns = [100, 200, 1000, 2000]
    latency = Histogram()
    for time_ns in times_ns:
        latency.record(time_ns)
    assert against_floor(times_ns, latency) == {"floor_s": 200e-9, "floor_ratio": 1.0}


def test_the_overhead_is_the_difference_in_units_of_the_reference() -> None:
    latency = Histogram()
    for value_ns in (1000, 2000, 9000):
        latency.record(value_ns)
    metrics = against_floor([100, 400, 1000], latency, [10, 80, 90])
    assert metrics["overhead_s"] == pytest.approx(1600e-9, rel=0.01)
    assert metrics["overhead_refs"] == pytest.approx(20.0, rel=0.01)
    assert metrics["reference_s"] == pytest.approx(80e-9)
    assert against_floor([4000], latency, [100])["overhead_refs"] == pytest.approx(-20.0, rel=0.01)
    assert "overhead_refs" not in against_floor([100], latency)


def test_only_a_floor_that_is_no_reference_itself_has_one_beside_it() -> None:
    assert isinstance(create_reference("memcpy"), Pace)
    assert create_reference("") is None
    assert create_reference("pace") is None


def test_a_floor_is_made_by_its_name() -> None:
    assert create_beside("", 4096, 1) is None
    assert isinstance(create_beside("memcpy", 4096, 1), Memcpy)
    with pytest.raises(ValueError, match="unknown floor 'memcopy': use one of memcpy, two_threads, pace"):
        create_beside("memcopy", 4096, 1)


def test_the_time_of_a_floor_grows_with_its_work() -> None:
    assert beside_s("", 100_000_000, 4, 10) == 0.0
    assert beside_s("memcpy", 100_000_000, 4, 10) == pytest.approx(0.11)
    assert beside_s("two_threads", 100_000_000, 4, 10) == pytest.approx(1.32)
    assert beside_s("pace", 100_000_000, 4, 10) == pytest.approx(0.0011)
