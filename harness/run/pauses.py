"""How long the garbage collector held the measured process up. Costs nothing where nothing is collected."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Pauses:
    """The collections of this process while :meth:`noted`.

    Attributes:
        durations_ns: Duration of each, in order.
    """

    def __init__(self) -> None:
        self.durations_ns: list[int] = []
        self._start_ns = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note every collection within."""
        gc.callbacks.append(self._note)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, _: Mapping[str, int]) -> None:
        now_ns = time.perf_counter_ns()
        if phase == "start":
            self._start_ns = now_ns
        else:
            self.durations_ns.append(now_ns - self._start_ns)
