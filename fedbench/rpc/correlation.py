"""Which calls are open, whom they wait for and until when. Pure: time comes in as numbers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Waiter = TypeVar("Waiter")


class OpenCalls(Generic[Waiter]):
    """The calls of one node that have not ended, by correlation id.

    Opening and closing a call costs one dictionary entry. Deadlines are looked for only when the earliest may
    have passed, in one pass over the open calls: there is no heap to keep for those that are met.
    """

    def __init__(self) -> None:
        self._next_id = itertools.count(1).__next__
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
        correlation_id = self._next_id()
        self._open[correlation_id] = (peer_id, waiter, deadline_ns)
        return correlation_id

    def close(self, correlation_id: int) -> None:
        """Forget a call; idempotent."""
        self._open.pop(correlation_id, None)

    def forget(self, chosen: Callable[[Waiter], bool]) -> None:
        """Close the calls of those who wait that are ``chosen``; looks at all."""
        for number in [number for number, entry in self._open.items() if chosen(entry[1])]:
            del self._open[number]

    def take(self, correlation_id: int, peer_id: str) -> Waiter | None:
        """Close a call and return who waits for it; None if nobody does or another peer was asked."""
        entry = self._open.pop(correlation_id, None)
        if entry is None or entry[0] == peer_id:
            return None if entry is None else entry[1]
        self._open[correlation_id] = entry
        return None

    def take_all(self, peer_id: str) -> list[Waiter]:
        """Close the calls of ``peer_id`` and return who waits for them, oldest first."""
        return [waiter for _, waiter in self._take(lambda entry: entry[0] == peer_id)]

    def take_due(self, now_ns: int) -> list[tuple[str, Waiter]]:
        """Close the calls whose deadline has passed; return whom they asked and who waits, oldest first."""
        return self._take(lambda entry: 0 < entry[2] <= now_ns)

    def next_deadline_ns(self) -> int | None:
        """Return the earliest deadline, None if there is none."""
        return min((deadline_ns for _, _, deadline_ns in self._open.values() if deadline_ns), default=None)

    def _take(self, chosen: Callable[[tuple[str, Waiter, int]], bool]) -> list[tuple[str, Waiter]]:
        numbers = [number for number, entry in self._open.items() if chosen(entry)]
        return [self._open.pop(number)[:2] for number in numbers]
