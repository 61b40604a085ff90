"""The same operation again and again: first to warm up, then measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.stats.histogram import Histogram
from harness.workloads.beside import create_reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager


class Once(NamedTuple):
    """One operation.

    Attributes:
        taken_ns: How long it took.
        floor_ns: The timings of the floor before it, if there is one.
    """

    taken_ns: int
    floor_ns: list[int]


class Repeated(NamedTuple):
    """All that counted.

    Attributes:
        latency: Of the operations, in ns.
        floor_ns: The timings of the floor before them.
        last: The number of the last operation.
        reference_ns: The timings of the CPU reference after them, if there is one.
    """

    latency: Histogram
    floor_ns: list[int]
    last: int
    reference_ns: list[int]


async def repeated(
    once: Callable[[int], Awaitable[Once]],
    params: Mapping[str, Any],
    measured: AbstractAsyncContextManager[None],
) -> Repeated:
    """Do something ``warmup`` times, and then ``operations`` times while it is measured.

    Neither goes on after ``duration_s`` seconds in all, but one operation always counts.

    Args:
        once: Does it, told its number, from 1 on through the warm-up.
        params: Values for the three.
        measured: Entered for what counts.
    """
    reference = create_reference(params.get("floor", ""))
    latency, floor_ns, reference_ns, number = Histogram(), [], [], 0
    end_ns = time.perf_counter_ns() + int(params["duration_s"] * 1e9)
    while number < params["warmup"] and time.perf_counter_ns() <= end_ns:
        number += 1
        await once(number)
    async with measured:
        while latency.count < params["operations"]:
            number += 1
            taken_ns, beside_ns = await once(number)
            latency.record(taken_ns)
            floor_ns += beside_ns
            if reference is not None:
                reference_ns.append(reference.time())
            if time.perf_counter_ns() > end_ns:
                break
    return Repeated(latency, floor_ns, number, reference_ns)
