"""The floors: what the event loop itself costs, on the loop and in the run of the stacks."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from harness.stacks import floors_process, floors_tcp
from harness.stacks.bare import BareStack
from harness.stacks.base import Unsupported


class Expected(NamedTuple):
    """About how long a floor takes.

    Attributes:
        each_s: Seconds for one operation.
        start_s: Seconds before the first.
        most: Most operations that are run.
    """

    each_s: float
    start_s: float = 0.0
    most: int | None = None


AWAITS_PER_SAMPLE = 100
HOPS_MOST_S = 1.0
"""Time after which no further hop is timed."""
NETWORK = ("ws_echo", "ws_broadcast")
"""Floors of :mod:`harness.stacks.floors_network`, which is imported for them only: aiohttp takes memory."""

_USUAL = Expected(10e-6)
_EXPECTED = {
    "pipe": Expected(60e-6, start_s=0.1),
    "queue": Expected(150e-6, start_s=0.1),
    "queue_round": Expected(2.5, start_s=2.5),
    "memcpy": Expected(0.01, start_s=0.01, most=floors_process.MEMCPY_SAMPLES),
    "ws_echo": Expected(250e-6, start_s=0.5),
    "ws_broadcast": Expected(0.1, start_s=2.0),
    "tcp_down": Expected(0.06, start_s=0.5, most=floors_tcp.BULK_SAMPLES),
    "tcp_up": Expected(0.06, start_s=0.5, most=floors_tcp.BULK_SAMPLES),
    "unary": Expected(1e-3, start_s=1.0),
    "bulk_down": Expected(0.4, start_s=1.5, most=20),
    "bulk_up": Expected(0.4, start_s=1.5, most=20),
}


class FloorStack(BareStack):
    """Operations that no federated system can undercut."""

    name = "floors"
    reason = "floors are operations of the event loop, not a federation"

    async def floor(self, operation: str, count: int) -> list[int]:
        """Run an operation ``count`` times and return each one's time in ns.

        ``hop``: a callback through the loop that wakes its waiter. ``await``: a direct call of a coroutine,
        mean of 100 a sample. ``rpc``: a bare correlated call, that is a task for the handler, a future for
        the answer and a timer for the deadline. ``pipe``, ``queue``, ``queue_round`` and ``memcpy``: see
        :mod:`harness.stacks.floors_process`. ``tcp_down`` and ``tcp_up``: see
        :mod:`harness.stacks.floors_tcp`. ``ws_echo`` and ``ws_broadcast``: see
        :mod:`harness.stacks.floors_network`.

        Raises:
            Unsupported: Another operation.
        """
        operations = {
            "hop": hops,
            "await": _awaits,
            "rpc": _BareRpc().calls,
            "pipe": floors_process.pipe,
            "queue": floors_process.queue,
            "queue_round": floors_process.queue_round,
            "memcpy": floors_process.memcpy,
            "tcp_down": floors_tcp.tcp_down,
            "tcp_up": floors_tcp.tcp_up,
        }
        if operation in NETWORK:
            from harness.stacks import floors_network

            timed: list[int] = await getattr(floors_network, operation)(count)
            return timed
        if operation not in operations:
            raise Unsupported(f"no floor {operation!r}: use one of {', '.join((*operations, *NETWORK))}")
        return await operations[operation](count)


def expected_s(operation: str, count: int) -> float:
    """Return about how long ``count`` operations of a floor take, in seconds."""
    expected = _EXPECTED.get(operation, _USUAL)
    return expected.start_s + expected.each_s * min(count, expected.most or count)


async def hops(count: int) -> list[int]:
    """Time hops of the running loop in ns: a future that a callback completes and somebody awaits.

    They are fewer, at least one, where they take longer than :data:`HOPS_MOST_S`: in the loop of a thousand
    pollers a hop waits for all that are due, 10 ms and more.
    """
    loop = asyncio.get_running_loop()
    times_ns: list[int] = []
    end_ns = time.perf_counter_ns() + int(HOPS_MOST_S * 1e9)
    for _ in range(count):
        start_ns = time.perf_counter_ns()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        now_ns = time.perf_counter_ns()
        times_ns.append(now_ns - start_ns)
        if now_ns > end_ns:
            break
    return times_ns


async def _awaits(count: int) -> list[int]:
    times_ns = []
    for _ in range(count):
        start_ns = time.perf_counter_ns()
        for _ in range(AWAITS_PER_SAMPLE):
            await _nothing()
        times_ns.append((time.perf_counter_ns() - start_ns) // AWAITS_PER_SAMPLE)
    return times_ns


async def _nothing() -> int:
    return 1


class _BareRpc:
    """A dictionary of futures, a task a request and a timer a call: the least that RPC can be made of."""

    def __init__(self) -> None:
        self._last_id = 0
        self._open: dict[int, asyncio.Future[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def calls(self, count: int) -> list[int]:
        times_ns = []
        for _ in range(count):
            start_ns = time.perf_counter_ns()
            await self._call()
            times_ns.append(time.perf_counter_ns() - start_ns)
        return times_ns

    async def _call(self) -> int:
        loop = asyncio.get_running_loop()
        self._last_id += 1
        future: asyncio.Future[int] = loop.create_future()
        self._open[self._last_id] = future
        timer = loop.call_later(10.0, future.cancel)
        task = loop.create_task(self._serve(self._last_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await future
        finally:
            timer.cancel()

    async def _serve(self, correlation_id: int) -> None:
        self._open.pop(correlation_id).set_result(correlation_id)
