"""Time that passes by the turns of an event loop: what is slept for takes as long as it says, at once."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Coroutine
from typing import Any

import pytest

START_S = 1.0
"""When it begins, so that no moment in it is 0."""
TURN_NS = 50_000
"""What a turn of the loop takes, so that one that is turned in place of a sleep ends."""


class _Clock(selectors.DefaultSelector):
    """A selector that has its time pass in place of waiting, whatever a thread or socket is about to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = int(START_S * 1e9)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(None if timeout is None else 0)
        waited_ns = 0 if found or timeout is None else math.ceil(timeout * 1e9)
        self.now_ns += max(waited_ns, TURN_NS)
        return found


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run something with a clock of its own behind the loop's time and the monotonic ones of ``time``.

    Only for what waits for nothing but time: a socket or a process would need the real one.
    """
    clock = _Clock()
    with pytest.MonkeyPatch.context() as patched:
        for name in ("monotonic", "perf_counter"):
            patched.setattr(time, name, lambda: clock.now_ns / 1e9)
            patched.setattr(time, f"{name}_ns", lambda: clock.now_ns)
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(clock)) as runner:
            return runner.run(main)
