"""Which calls are open, whom they wait for and until when. Pure: time comes in as numbers."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Waiter = TypeVar("Waiter")


class OpenCalls(Generic[Waiter]):
    """The calls of one node that have not been answered, by correlation id."""

    def __init__(self) -> None:
        self._last_id = 0
        self._open: dict[int, tuple[str, Waiter]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, peer_id: str, waiter: Waiter) -> int:
        """Remember a call to ``peer_id`` and return its correlation id, unique within the node."""
        self._last_id += 1
        self._open[self._last_id] = (peer_id, waiter)
        return self._last_id

    def close(self, correlation_id: int) -> None:
        """Forget a call; idempotent."""
        self._open.pop(correlation_id, None)

    def match(self, correlation_id: int, peer_id: str) -> Waiter | None:
        """Return who waits for this answer, None if nobody does or another peer was asked."""
        entry = self._open.get(correlation_id)
        return entry[1] if entry is not None and entry[0] == peer_id else None

    def waiting_for(self, peer_id: str) -> list[Waiter]:
        """Return who waits for ``peer_id``, oldest call first."""
        return [waiter for asked, waiter in self._open.values() if asked == peer_id]


class Deadlines:
    """Callbacks by the time they are due: one heap a node, one timer whatever the number of calls.

    A deadline that is met is only marked; marked entries are swept when they outnumber the others, so the
    heap never holds more than ``2 * pending + 64`` entries.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> int:
        """Add a deadline and return the token that :meth:`discard` takes."""
        self._last += 1
        self._callbacks[self._last] = callback
        heapq.heappush(self._heap, (deadline_ns, self._last))
        return self._last

    def discard(self, token: int) -> None:
        """The deadline was met; idempotent."""
        if self._callbacks.pop(token, None) is not None:
            self._sweep()

    def next_ns(self) -> int | None:
        """Return the earliest pending deadline, None if there is none."""
        while self._heap and self._heap[0][1] not in self._callbacks:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ns: int) -> list[Callable[[], object]]:
        """Remove every deadline that has passed at ``now_ns`` and return their callbacks, earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now_ns:
            callback = self._callbacks.pop(heapq.heappop(self._heap)[1], None)
            if callback is not None:
                due.append(callback)
        self._sweep()
        return due

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._callbacks) + 64:
            self._heap = [entry for entry in self._heap if entry[1] in self._callbacks]
            heapq.heapify(self._heap)
