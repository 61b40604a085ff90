"""Calls in an open loop: what a stack can take at most, and what it does with a share of that."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import DeadlineExceeded, Overloaded, RemoteError
from harness.stats.histogram import Histogram
from harness.workloads.arrivals import Arrivals

if TYPE_CHECKING:
    from harness.stacks.base import Stack

GENERATOR_WITHIN = "its window holds the turns of the load generator, too"
"""Why CPU and wake-ups are not measured where arrivals are exact."""
ALWAYS_PER_S = 1e9
"""More arrivals a second than anybody can take."""
CAPACITY_WINDOWS = 2.5
"""How long it takes to find a capacity, in windows: half of one to warm up, then two."""
ROUNDS_TOLD = 10
"""From how many answers of each caller on a window's rate tells: it may hold a burst of them too many."""
NUMBER_BYTES = 8
"""A payload begins with the number of its call."""
WRONG_KEPT = 20
"""Lines about wrong answers that are kept; the rest are counted only."""


class Capacity(NamedTuple):
    """What a stack and the generator take at most.

    Attributes:
        per_s: Calls a second, in the better of two windows: what else runs on the machine only takes from it.
        spread_share: How far the other lies below it, as a share; None where two windows held too little.
    """

    per_s: float
    spread_share: float | None

    def values(self) -> dict[str, float]:
        """Return the metrics that tell of it."""
        spread = {} if self.spread_share is None else {"capacity_spread_share": self.spread_share}
        return {"capacity_ops_per_s": self.per_s} | spread


class _Mark(NamedTuple):
    """How many calls have been answered at a moment."""

    at_s: float
    answered: int


class Caller:
    """Makes calls to the clients in turn and keeps account of each.

    Every call ends up in exactly one of the four counts, whatever it raises. One event loop.

    Args:
        stack: What is called, running.
        clients: How many it has.
        payload_bytes: Size of what is sent and comes back, at least 8.
        late_s: Seconds from the intended time on after which an answer is worthless; also every call's
            deadline.

    Attributes:
        latency: Send to answer of the calls that were answered, in ns.
        intended: The same from the intended time.
        in_time: Calls that were answered rightly within ``late_s``.
        late: Calls that were answered later, or not at all.
        refused: Calls that were refused because a bounded queue was full.
        failed: Calls that were answered wrongly or raised anything else.
        begun: How many calls have begun.
        wrong: What went wrong with the first of the failed.

    Raises:
        ValueError: The payload is too small to tell the calls apart.
    """

    def __init__(self, stack: Stack, clients: int, payload_bytes: int, late_s: float) -> None:
        self._stack = stack
        self._clients = clients
        self._padding = padding(payload_bytes)
        self._late_s = late_s
        self._late_ns = int(late_s * 1e9)
        self.begun = 0
        self._calls: set[asyncio.Task[None]] = set()
        self.latency, self.intended = Histogram(), Histogram()
        self.in_time = self.late = self.refused = self.failed = 0
        self.wrong: list[str] = []

    @property
    def total(self) -> int:
        """How many calls have ended."""
        return self.in_time + self.late + self.refused + self.failed

    async def capacity(self, callers: int, window_s: float) -> Capacity:
        """Find out how many calls a second are answered while ``callers`` each have one open at any time.

        Half a window warms up, then two windows are counted, one after the other, without the end in which
        fewer and fewer are open. But where one of them holds fewer than :data:`ROUNDS_TOLD` answers of each
        caller, all answers count until the last call has ended: a poller answers all of them at once, and a
        window that holds two such bursts may be hardly longer than the time from one to the next.

        Each caller is a task of its own and waits for an arrival that is long due, so that it costs what it
        costs in the open loop: the generator shares the process with what it loads.

        Args:
            callers: How many.
            window_s: Length of a window in seconds; it takes :data:`CAPACITY_WINDOWS` of them.

        Raises:
            RuntimeError: No call was answered in that time.
        """
        always, before, start_ns = arrivals_at(ALWAYS_PER_S, 0), self.latency.count, time.monotonic_ns()
        watching = asyncio.create_task(self._watch(window_s))

        async def again() -> None:
            while not watching.done():
                await always.next()
                await self.begin(time.monotonic_ns())

        try:
            await asyncio.gather(*(again() for _ in range(callers)))
        finally:
            watching.cancel()
        windows = list(itertools.pairwise(watching.result()))
        if all(there.answered - here.answered >= ROUNDS_TOLD * callers for here, there in windows):
            rates_per_s = [
                (there.answered - here.answered) / (there.at_s - here.at_s) for here, there in windows
            ]
            return Capacity(max(rates_per_s), 1 - min(rates_per_s) / max(rates_per_s))
        if self.latency.count == before:
            took_s = CAPACITY_WINDOWS * window_s
            raise RuntimeError(f"no call was answered within {took_s:g} s: {self.wrong[:1] or 'all late'}")
        return Capacity((self.latency.count - before) / ((time.monotonic_ns() - start_ns) / 1e9), None)

    async def _watch(self, window_s: float) -> list[_Mark]:
        marks = []
        for wait_s in (window_s / 2, window_s, window_s):
            await asyncio.sleep(wait_s)  # a window is a time
            marks.append(_Mark(time.monotonic_ns() / 1e9, self.latency.count))
        return marks

    async def offer(self, arrivals: Arrivals, duration_s: float, most: int = sys.maxsize) -> int:
        """Begin a call at each arrival, wait until the last has ended, and return how many there were.

        Args:
            arrivals: When.
            duration_s: Seconds after which no more begin.
            most: The most calls to begin.
        """
        end_ns = time.monotonic_ns() + int(duration_s * 1e9)
        before = self.begun
        while self.begun < before + most:
            intended_ns, _ = await arrivals.next()
            if intended_ns > end_ns:
                break
            self.begin(intended_ns)
        await self.ended()
        return self.begun - before

    async def ended(self) -> None:
        """Wait until every call that has begun has ended; those that nobody has counted have failed."""
        await asyncio.gather(*self._calls, return_exceptions=True)
        lost = self.begun - self.total
        if lost:
            self._fail(f"of {self.begun} calls {lost} ended without answer or error", lost)

    def begin(self, intended_ns: int) -> asyncio.Task[None]:
        """Begin the next call; nothing that becomes of it is raised."""
        task = asyncio.create_task(self._call(self.begun, intended_ns))
        self.begun += 1
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _call(self, number: int, intended_ns: int) -> None:
        payload = number.to_bytes(NUMBER_BYTES, "little") + self._padding
        start_ns = time.monotonic_ns()
        try:
            answer = await self._stack.ping(number % self._clients, payload, deadline_s=self._late_s)
        except DeadlineExceeded:
            self.late += 1
        except Exception as error:
            if is_refusal(error):
                self.refused += 1
            else:
                self._fail(f"call {number} raised {type(error).__name__}: {error}")
        else:
            self._answered(number, answer == payload, start_ns, intended_ns)

    def _answered(self, number: int, right: bool, start_ns: int, intended_ns: int) -> None:
        now_ns = time.monotonic_ns()
        self.latency.record(now_ns - start_ns)
        self.intended.record(now_ns - intended_ns)
        if not right:
            self._fail(f"call {number} was answered with another payload")
        elif now_ns - intended_ns <= self._late_ns:
            self.in_time += 1
        else:
            self.late += 1

    def _fail(self, line: str, calls: int = 1) -> None:
        self.failed += calls
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(line)


def padding(payload_bytes: int) -> bytes:
    """Return what stands behind the number of a call in its payload.

    Raises:
        ValueError: The payload is too small to tell the calls apart.
    """
    if payload_bytes < NUMBER_BYTES:
        raise ValueError(f"payload_bytes is {payload_bytes}: at least {NUMBER_BYTES} tell the calls apart")
    return b"." * (payload_bytes - NUMBER_BYTES)


def is_refusal(error: Exception) -> bool:
    """Return whether a bounded queue was full, on this side or on the other."""
    return isinstance(error, Overloaded) or (
        isinstance(error, RemoteError) and error.type_name == Overloaded.__name__
    )


def arrivals_at(rate_per_s: float, seed: int) -> Arrivals:
    """Return the arrivals of calls at a rate, which may come microseconds apart."""
    return Arrivals(rate_per_s, random.Random(seed), exact=True)
