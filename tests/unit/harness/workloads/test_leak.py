from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from harness.stacks.federation import FederationStack
from harness.workloads import leak
from harness.workloads.leak import in_use, level, slope
from harness.workloads.registry import create_workload

ROUNDS = {"clients": 1, "model_bytes": 64, "every": 40}


def test_the_slope_is_of_the_later_rounds_and_the_larger_of_both_ways() -> None:
    held = [(n, (5000 * n if n <= 2 else 10 * n, 7 * n)) for n in range(1, 13)]
    assert slope(held) == pytest.approx(10)
    assert slope([(n, (3 * n, 80 * n)) for n in range(1, 13)]) == pytest.approx(80)
    assert slope([(n, (100 - n,)) for n in range(1, 13)]) == pytest.approx(-1)


def test_what_is_held_at_once_is_told_without_what_is_left_behind() -> None:
    assert level([(n, 900 if n <= 2 else 500) for n in range(1, 13)]) == pytest.approx(500)
    assert level([(n, 500 + 40 * n) for n in range(1, 13)]) == pytest.approx(500)


@pytest.mark.parametrize("make", [lambda: bytes(10_000), lambda: np.ones(2500, np.float32)])
def test_memory_that_is_held_is_in_use_and_what_is_freed_is_not(make: Any) -> None:
    tracemalloc.start()
    try:
        before = in_use()
        held = [make() for _ in range(200)]
        during = in_use()
        del held
        after = in_use()
    finally:
        tracemalloc.stop()
    for first, most, last in zip(before, during, after, strict=True):
        assert most - first == pytest.approx(2_000_000, rel=0.1)
        assert last - first < 300_000


def test_without_glibc_what_python_traces_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak, "_MALLINFO", None)
    assert len(in_use()) == 1


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_ten_kilobytes_a_round_are_seen_and_nothing_is_told_of_what_is_freed(
    tapped, drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bytes] = []

    class Leaking(tapped):
        async def run(self, *, on_round: Any = None, **more: Any) -> Any:
            def after(record: Any) -> None:
                held.append(bytes(10_240))
                on_round(record)

            return await super().run(on_round=after, **more)

    plain = await drive("leak", FederationStack("push", "memory", {}), **ROUNDS)
    leaking = await drive("leak", Leaking(), **ROUNDS)
    assert plain.wrong == leaking.wrong == []
    slopes = [outcome.values["leak_bytes_per_round"] for outcome in (plain, leaking)]
    assert abs(slopes[0]) < 4096
    assert 9_000 < slopes[1] - slopes[0] < 12_000
    assert plain.values["model_copies"] >= 2  # the model, and the update
    held_at_once = [outcome.values["model_copies"] * 64 for outcome in (plain, leaking)]
    assert abs(held_at_once[1] - held_at_once[0]) < 200_000  # of 4 MB that were left behind
    assert not tracemalloc.is_tracing()


async def test_too_few_rounds_are_refused(tapped, drive) -> None:
    with pytest.raises(ValueError, match="rounds is 399: a slope needs 300 beyond the first quarter"):
        await drive("leak", tapped(), rounds=399)


def test_rounds_take_longer_with_a_poller() -> None:
    workload = create_workload("leak", {})
    assert workload.expected_s(poll_s=0.0) < workload.expected_s(poll_s=0.01)
