"""Arrivals: an open loop's clock. Work begins at random times that do not wait for earlier work to end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from harness.stats.histogram import Histogram

if TYPE_CHECKING:
    import random

SPIN_S = 2e-3
"""A timer of the loop fires up to so many seconds late; the rest of a wait is spent turning the loop."""


class Arrival(NamedTuple):
    """One moment to begin something.

    Attributes:
        intended_ns: When it was meant to begin, monotonic.
        now_ns: When it could begin; never before.
    """

    intended_ns: int
    now_ns: int


class Arrivals:
    """A Poisson process: independent, exponentially distributed gaps, whatever became of what began before.

    Latency from the intended time includes what a busy generator kept waiting (coordinated omission). For
    one caller.

    Args:
        rate_per_s: Mean arrivals a second.
        rng: Source of the gaps; with the same state the same arrivals.
        exact: Whether to turn the loop instead of sleeping before each arrival. That makes gaps below a
            millisecond true, and takes all the CPU time that is left over.

    Attributes:
        lag: How long after its intended time each arrival was handed out, in ns.

    Raises:
        ValueError: The rate is not above 0.
    """

    def __init__(self, rate_per_s: float, rng: random.Random, *, exact: bool = False) -> None:
        if not rate_per_s > 0:
            raise ValueError(f"rate_per_s is {rate_per_s}: it must be above 0")
        self.lag = Histogram()
        self._rate_per_s = rate_per_s
        self._rng = rng
        self._spin_s = SPIN_S if exact else 0.0
        self._intended_ns = 0

    def restart(self) -> None:
        """Have the gap to the next arrival begin when that is asked for, as that to the first did."""
        self._intended_ns = 0

    async def next(self) -> Arrival:
        """Wait for the next arrival; the gap to the first begins with the first call.

        One that is due is handed out at once, without a turn of the loop.
        """
        if not self._intended_ns:
            self._intended_ns = time.monotonic_ns()
        self._intended_ns += int(self._rng.expovariate(self._rate_per_s) * 1e9)
        wait_s = (self._intended_ns - time.monotonic_ns()) / 1e9
        if wait_s > self._spin_s:
            await asyncio.sleep(wait_s - self._spin_s)
        while self._spin_s and time.monotonic_ns() < self._intended_ns:
            os.sched_yield()  # a process that waits for this core is perhaps one of the clients
            await asyncio.sleep(0)
        now_ns = time.monotonic_ns()
        self.lag.record(max(now_ns - self._intended_ns, 0))
        return Arrival(self._intended_ns, now_ns)
