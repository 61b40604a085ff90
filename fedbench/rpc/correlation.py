"""Which calls are open, whom they wait for and until when. Pure: time comes in as numbers."""

from __future__ import annotations

from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class OpenCalls(Generic[Waiter]):
    """The calls of one node that have not ended, by correlation id.

    Opening and closing a call costs one dictionary entry. Deadlines are looked for only when the earliest may
    have passed, in one pass over the open calls: there is no heap to keep for those that are met.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._open: dict[int, tuple[str, Waiter, int]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, peer_id: str, waiter: Waiter, deadline_ns: int = 0) -> int:
        """Remember a call and return its correlation id, unique within the node and never 0.

        Args:
            peer_id: Node at the other end.
            waiter: Who waits for it.
            deadline_ns: Monotonic time at which it is over, 0 for never.
        """
        self._last_id += 1
        self._open[self._last_id] = (peer_id, waiter, deadline_ns)
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
        return [waiter for asked, waiter, _ in self._open.values() if asked == peer_id]

    def due(self, now_ns: int) -> list[Waiter]:
        """Return who waits for a call whose deadline has passed, oldest call first. The calls stay open."""
        return [waiter for _, waiter, deadline_ns in self._open.values() if 0 < deadline_ns <= now_ns]

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """Return the earliest deadline that has not passed, None if there is none."""
        later = (deadline_ns for _, _, deadline_ns in self._open.values() if deadline_ns > now_ns)
        return min(later, default=None)
