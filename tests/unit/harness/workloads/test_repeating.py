"""Operations that are repeated: what warms up, what counts, and when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.workloads.repeating import Once, Repeated, repeated
from tests.fakes import virtual


class Counting:
    """Does nothing again and again.

    Attributes:
        did: Each number, and whether it was measured.
    """

    def __init__(self, takes_s: float = 0.0) -> None:
        self._takes_s = takes_s
        self._measured = False
        self.did: list[tuple[int, bool]] = []

    @asynccontextmanager
    async def measured(self) -> AsyncIterator[None]:
        self._measured = True
        yield
        self._measured = False

    async def once(self, number: int) -> Once:
        self.did.append((number, self._measured))
        await asyncio.sleep(self._takes_s)
        return Once(1000 * number, [number])

    async def repeat(self, warmup: int, operations: int, duration_s: float = 60.0) -> Repeated:
        params = {"warmup": warmup, "operations": operations, "duration_s": duration_s}
        return await repeated(self.once, params, self.measured())


async def test_what_warms_up_is_neither_measured_nor_counted() -> None:
    counting = Counting()
    done = await counting.repeat(2, 3)
    assert counting.did == [(1, False), (2, False), (3, True), (4, True), (5, True)]
    assert (done.latency.count, done.floor_ns, done.last) == (3, [3, 4, 5], 5)
    assert done.latency.percentile(1.0) == 5000


async def test_nothing_has_to_warm_up() -> None:
    counting = Counting()
    done = await counting.repeat(0, 1)
    assert (counting.did, done.last) == ([(1, True)], 1)


def test_when_the_time_is_up_during_the_warm_up_one_operation_counts() -> None:
    counting = Counting(takes_s=0.01)
    done = virtual.run(counting.repeat(50, 50, 0.015))
    assert [measured for _, measured in counting.did] == [False, False, True]
    assert (done.latency.count, done.last) == (1, 3)


def test_when_the_time_is_up_the_operation_was_the_last() -> None:
    counting = Counting(takes_s=0.01)
    done = virtual.run(counting.repeat(1, 50, 0.025))
    assert (done.latency.count, done.last) == (2, 3)
