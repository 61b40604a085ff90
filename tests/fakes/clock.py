"""FakeClock: time that passes only when a test says so."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class FakeTimer:
    """A pending callback of a FakeClock."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Forget the callback."""
        self.cancelled = True


class FakeClock:
    """A :class:`fedbench.clock.Clock` for tests. It begins at 1 s, so that no moment in it is 0."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns
        self._timers: list[tuple[int, int, FakeTimer]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Return the time in ns."""
        return self._now_ns

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        """Run ``callback`` when time has advanced by ``delay_s``."""
        timer = FakeTimer(callback)
        due_ns = self._now_ns + round(delay_s * 1e9)
        heapq.heappush(self._timers, (due_ns, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers wait."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: what falls due runs at its own time, timers of one time as they were made."""
        end_ns = self._now_ns + round(seconds * 1e9)
        while self._timers and self._timers[0][0] <= end_ns:
            due_ns, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self._now_ns = max(self._now_ns, due_ns)
                timer.callback()
        self._now_ns = end_ns
