"""DeadlineTimer: the one timer of a node behind all of its deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.rpc.correlation import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer


class DeadlineTimer:
    """Runs callbacks when their deadline passes. Met deadlines cost no timer operation.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadlines = Deadlines()
        self._timer: Timer | None = None
        self._armed_ns = 0
        self.discard = self._deadlines.discard

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> int:
        """Run ``callback`` once at ``deadline_ns`` unless the returned token is discarded first."""
        token = self._deadlines.add(deadline_ns, callback)
        if self._timer is None or deadline_ns < self._armed_ns:
            self._arm(deadline_ns)
        return token

    def close(self) -> None:
        """Forget the timer; callbacks that are pending never run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, deadline_ns: int) -> None:
        self.close()
        self._armed_ns = deadline_ns
        self._timer = self._clock.call_later(max(deadline_ns - self._clock.now_ns(), 0) / 1e9, self._fire)

    def _fire(self) -> None:
        self._timer = None
        for callback in self._deadlines.pop_due(self._clock.now_ns()):
            callback()
        following = self._deadlines.next_ns()
        if following is not None and self._timer is None:
            self._arm(following)
