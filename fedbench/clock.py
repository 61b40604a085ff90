"""Time as a dependency: the real one is the event loop's, tests hand in their own."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A pending callback."""

    def cancel(self) -> None:
        """Forget the callback; harmless when it already ran."""
        ...


class Clock(Protocol):
    """Monotonic time in integer nanoseconds and callbacks at a later time."""

    def now_ns(self) -> int:
        """Return monotonic time in ns, comparable between processes of one machine."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` in the event loop once, ``delay_s`` seconds from now."""
        ...


class LoopClock:
    """The running event loop's clock."""

    now_ns = staticmethod(time.monotonic_ns)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` in the running loop, ``delay_s`` seconds from now."""
        return asyncio.get_running_loop().call_later(delay_s, callback)
