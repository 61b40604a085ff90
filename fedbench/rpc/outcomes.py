"""Outcomes: what became of one message at each of many nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fedbench.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable


_UNKNOWN = Exception("not known yet")


class Outcomes:
    """Collects what each node makes of a broadcast. One future for all: nodes are many.

    Args:
        node_ids: The nodes, in the order in which they are reported.
    """

    def __init__(self, node_ids: Iterable[str]) -> None:
        self._outcomes: dict[str, Exception | None] = dict.fromkeys(node_ids, _UNKNOWN)
        self._missing = len(self._outcomes)
        self._complete: asyncio.Future[None] | None = None

    def note(self, node_id: str, error: Exception | None) -> None:
        """A node has applied the message, or failed to; the first word before the deadline counts."""
        if self._outcomes[node_id] is _UNKNOWN:
            self._outcomes[node_id] = error
            self._missing -= 1
            if not self._missing and self._complete is not None and not self._complete.done():
                self._complete.set_result(None)

    async def wait(self, deadline_s: float | None) -> dict[str, Exception | None]:
        """Return each node's error or None when all are known, or after ``deadline_s`` seconds.

        Nodes of which nothing is known by then have :class:`DeadlineExceeded`.
        """
        if self._missing:
            self._complete = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._complete,), timeout=deadline_s)
        for node_id, outcome in self._outcomes.items():
            if outcome is _UNKNOWN:
                late = DeadlineExceeded(f"{node_id} did not apply the model within {deadline_s} s")
                self._outcomes[node_id] = late
        return self._outcomes
