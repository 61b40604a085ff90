"""Backoff: how long to wait before dialling again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_S = 1.0
FACTOR = 1.6
JITTER = 0.2
MOST_S = 120.0


class Backoff:
    """Grows from 1 s by 1.6 to 120 s, each delay 20 % shorter to 20 % longer, so that nobody dials in step.

    Args:
        draw: Returns a number in [0, 1).
        first_s: The first delay, in seconds.
    """

    def __init__(self, draw: Callable[[], float], first_s: float = FIRST_S) -> None:
        self._draw = draw
        self._first_s = self._next_s = first_s

    def delay_s(self) -> float:
        """Return the next delay, in seconds."""
        delay_s, self._next_s = self._next_s, min(self._next_s * FACTOR, MOST_S)
        return delay_s * (1 - JITTER + 2 * JITTER * self._draw())

    def reset(self) -> None:
        """The peer has let us in: begin again."""
        self._next_s = self._first_s
