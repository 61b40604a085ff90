"""Heartbeat: one shared tick for all peers of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer


class Heartbeat:
    """Calls ``beat`` once an interval. One timer, however many peers.

    Args:
        clock: Time.
        beat: What to do at each tick.
    """

    def __init__(self, clock: Clock, beat: Callable[[], None]) -> None:
        self._clock = clock
        self._beat = beat
        self._timer: Timer | None = None
        self._interval_s = 0.0

    def start(self, interval_s: float) -> None:
        """Tick each ``interval_s`` seconds from now on, in place of any earlier interval.

        Raises:
            ValueError: The interval is not positive.
        """
        if interval_s <= 0:
            raise ValueError(f"heartbeat interval {interval_s} s is not positive")
        self.stop()
        self._interval_s = interval_s
        self._timer = self._clock.call_later(interval_s, self._tick)

    def stop(self) -> None:
        """Stop ticking; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._clock.call_later(self._interval_s, self._tick)
        self._beat()
