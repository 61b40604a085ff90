"""DeadlineTimer: one timer behind all the deadlines of a node's calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer

NEVER_NS = sys.maxsize


class DeadlineTimer:
    """Asks now and then whether deadlines have passed: at the earliest that it was told of.

    A deadline that is met costs a comparison and no timer operation. When the timer fires it finds out what
    is due and sleeps until the earliest deadline that is left.

    Args:
        clock: Time.
        expire: Ends what is due at a monotonic time in ns; returns the earliest deadline left, None for none.
    """

    __slots__ = ("_clock", "_expire", "_timer", "armed_ns")

    def __init__(self, clock: Clock, expire: Callable[[int], int | None]) -> None:
        self._clock = clock
        self._expire = expire
        self._timer: Timer | None = None
        self.armed_ns = NEVER_NS

    def watch(self, deadline_ns: int) -> None:
        """See to it that the timer fires at ``deadline_ns`` or earlier. 0 means never."""
        if 0 < deadline_ns < self.armed_ns:
            self._arm(deadline_ns)

    def close(self) -> None:
        """Forget every deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.armed_ns = NEVER_NS

    def _arm(self, deadline_ns: int) -> None:
        self.close()
        self.armed_ns = deadline_ns
        self._timer = self._clock.call_later(max(deadline_ns - self._clock.now_ns(), 0) / 1e9, self._fire)

    def _fire(self) -> None:
        self.close()
        following_ns = self._expire(self._clock.now_ns())
        if following_ns is not None:
            self.watch(following_ns)
