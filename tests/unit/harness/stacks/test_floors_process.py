"""Floors between processes: each times a real round trip or copy, and its child is gone afterwards."""

from __future__ import annotations

import itertools

import pytest

from harness.stacks import floors_process
from harness.stacks.floors import FloorStack


@pytest.mark.parametrize("operation", ["pipe", "queue"])
async def test_round_trips_are_timed_one_by_one(operation: str) -> None:
    times_ns = await FloorStack().floor(operation, 20)
    assert len(times_ns) == 20
    assert all(1_000 < time_ns < 5e9 for time_ns in times_ns)


async def test_copies_are_few_because_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors_process, "MEMCPY_BYTES", 1 << 20)
    assert len(await FloorStack().floor("memcpy", 500)) == floors_process.MEMCPY_SAMPLES
    assert len(await FloorStack().floor("memcpy", 3)) == 3


async def test_a_round_through_queues_brings_every_array_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors_process, "MEMCPY_BYTES", 1 << 20)
    assert len(await FloorStack().floor("queue_round", 2)) == 2


async def test_the_first_round_through_queues_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    times_ns = iter([9_000, 20, 30])
    monkeypatch.setattr(floors_process, "_queue_round", lambda *_: next(times_ns))
    assert await FloorStack().floor("queue_round", 2) == [20, 30]
    assert await FloorStack().floor("queue_round", 0) == []


async def test_the_round_trip_in_which_the_child_starts_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(floors_process.time, "perf_counter_ns", lambda: next(now) ** 2)
    assert await FloorStack().floor("pipe", 2) == [9 - 4, 25 - 16]


async def test_the_memory_of_a_copy_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    monkeypatch.setattr(floors_process, "MEMCPY_BYTES", 1 << 10)
    monkeypatch.setattr(floors_process.np, "copyto", lambda *arrays: copies.append(arrays))
    assert len(await FloorStack().floor("memcpy", 3)) == 3
    assert len(copies) == 4


async def test_a_queue_that_brings_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors_process, "MEMCPY_BYTES", 1 << 10)
    monkeypatch.setattr(floors_process.np, "add", lambda total, _, out: out)
    with pytest.raises(RuntimeError, match=r"the queues brought a sum of 0\.0 instead of 14"):
        await FloorStack().floor("queue_round", 1)
