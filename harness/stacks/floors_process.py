"""Floors between processes: what the bare means of process mode cost, with an echo on the other side."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fedbench.fleet import starting
from fedbench.loop import in_thread, run
from harness.stacks.children import child, loop_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from multiprocessing.connection import Connection
    from multiprocessing.queues import Queue, SimpleQueue

    from fedbench.loop import LoopName
    from fedbench.tensors.layout import Array

    Timed = Callable[[int], Awaitable[list[int]]]

PAYLOAD = bytes(64)
MEMCPY_BYTES = 100_000_000
MEMCPY_SAMPLES = 20
ROUND_CLIENTS = 4


async def pipe(count: int) -> list[int]:
    """Time round trips over a blocking ``multiprocessing.Pipe`` in ns, after one that is not timed."""
    return await in_thread(_pipe, count)


async def queue(count: int) -> list[int]:
    """Time round trips over two bare ``SimpleQueue`` in ns: see :func:`queue_trips`."""
    async with queue_trips() as trips:
        return await trips(count)


@asynccontextmanager
async def queue_trips() -> AsyncIterator[Timed]:
    """Keep an echo behind two bare ``SimpleQueue``, each read when its descriptor is ready.

    The echo runs in a loop of the same kind as this one, and ends with the context.

    Yields:
        Times as many round trips as it is told, in ns.
    """
    loop = asyncio.get_running_loop()
    context = starting.context("forkserver")
    there, back = context.SimpleQueue(), context.SimpleQueue()
    answered: list[asyncio.Future[None]] = []

    def ready() -> None:
        back.get()
        answered.pop().set_result(None)

    async def trips(count: int) -> list[int]:
        times_ns = []
        for _ in range(count):
            future = loop.create_future()
            answered.append(future)
            start_ns = time.perf_counter_ns()
            there.put(PAYLOAD)
            await future
            times_ns.append(time.perf_counter_ns() - start_ns)
        return times_ns

    with child(_queue_echo, there, back, loop_name()):
        fd = _reader(back).fileno()
        loop.add_reader(fd, ready)
        try:
            yield trips
        finally:
            loop.remove_reader(fd)
            there.put(None)
    for box in (there, back):
        box.close()


async def queue_round(count: int) -> list[int]:
    """Time rounds in which 4 clients get and return 100 MB each through ``multiprocessing.Queue``, in ns.

    The server puts the model into every client's queue, each client adds its number, and the server sums
    what comes back: what a round is made of, with arrays pickled as that queue does. One round before the
    first is not timed: the clients start in it, and their memory gets warm.
    """
    return await in_thread(_queue_rounds, count)


async def memcpy(count: int) -> list[int]:
    """Time copies of 100 MB in memory that is warm, in ns; at most 20 of them."""
    source, target = np.ones(MEMCPY_BYTES, np.uint8), np.zeros(MEMCPY_BYTES, np.uint8)
    np.copyto(target, source)  # zeros have no pages until they are written
    times_ns = []
    for _ in range(min(count, MEMCPY_SAMPLES)):
        start_ns = time.perf_counter_ns()
        np.copyto(target, source)
        times_ns.append(time.perf_counter_ns() - start_ns)
    return times_ns


def _queue_rounds(count: int) -> list[int]:
    if not count:
        return []
    context = starting.context("forkserver")
    back: Queue[Any] = context.Queue()
    model, total = np.ones(MEMCPY_BYTES // 4, np.float32), np.zeros(MEMCPY_BYTES // 4, np.float32)
    there: list[Queue[Any]] = [context.Queue() for _ in range(ROUND_CLIENTS)]
    with ExitStack() as stack:
        for box in (*there, back):
            stack.callback(box.join_thread)
            stack.callback(box.close)
        for number, box in enumerate(there, start=1):
            stack.enter_context(child(_queue_learner, box, back, number))
        try:
            return [_queue_round(model, total, there, back) for _ in range(1 + count)][1:]
        finally:
            for box in there:
                box.put(None)


def _queue_round(model: Array, total: Array, there: list[Queue[Any]], back: Queue[Any]) -> int:
    start_ns = time.perf_counter_ns()
    for box in there:
        box.put(model)
    total.fill(0)
    for _ in there:
        np.add(total, back.get(), out=total)
    taken_ns = time.perf_counter_ns() - start_ns
    expected = ROUND_CLIENTS + sum(range(1, ROUND_CLIENTS + 1))
    if (total[0], total[-1]) != (expected, expected):
        raise RuntimeError(f"the queues brought a sum of {total[0]} instead of {expected}")
    return taken_ns


def _queue_learner(there: Queue[Any], back: Queue[Any], number: int) -> None:
    while (model := there.get()) is not None:
        back.put(model + np.float32(number))


def _pipe(count: int) -> list[int]:
    near, far = starting.context("forkserver").Pipe()
    times_ns = []
    with near, far, child(_pipe_echo, far):
        try:
            for _ in range(1 + count):
                start_ns = time.perf_counter_ns()
                near.send_bytes(PAYLOAD)
                near.recv_bytes()
                times_ns.append(time.perf_counter_ns() - start_ns)
        finally:
            near.send_bytes(b"")
    return times_ns[1:]  # the child starts in the first


def _pipe_echo(far: Connection) -> None:
    while payload := far.recv_bytes():
        far.send_bytes(payload)


def _queue_echo(there: SimpleQueue[Any], back: SimpleQueue[Any], name: LoopName) -> None:
    run(_echo(there, back), name)


async def _echo(there: SimpleQueue[Any], back: SimpleQueue[Any]) -> None:
    over = asyncio.Event()

    def ready() -> None:
        payload = there.get()
        if payload is None:
            over.set()
        else:
            back.put(payload)

    asyncio.get_running_loop().add_reader(_reader(there).fileno(), ready)
    await over.wait()


def _reader(box: SimpleQueue[Any]) -> Connection:
    reader: Connection = box._reader  # type: ignore[attr-defined]  # the queue does not tell it
    return reader
