"""Throttle: what others can cause without end is logged once, and then counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench.clock import Clock, Timer

WINDOW_S = 60.0
MOST_KINDS = 64


class _Kind:
    """What was logged of one kind, and how much more of it there was since."""

    __slots__ = ("last", "level", "more", "since_ns", "timer")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.level = self.more = 0
        self.last = ""
        self.timer: Timer | None = None


class Throttle:
    """Logs the first of a kind at once. Those that follow within a minute are counted in one line.

    There are at most 64 kinds in a minute; what is of others counts as one kind more.

    Args:
        log: Where it is logged.
        clock: Time.
    """

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._kinds: dict[object, _Kind] = {}

    def warning(self, kind: object, text: str, *args: object, **options: Any) -> None:
        """Log a warning, or count it.

        Args:
            kind: What it is, and whose: it is hashable.
            text: As for :meth:`logging.Logger.warning`.
            args: The same.
            options: The same.
        """
        self.log(logging.WARNING, kind, text, *args, **options)

    def log(self, level: int, kind: object, text: str, *args: object, **options: Any) -> None:
        """Log at a level, or count it; as :meth:`warning`."""
        if not self._log.isEnabledFor(level):
            return
        now_ns = self._clock.now_ns()
        known = self._kinds.get(kind)
        if known is None and len(self._kinds) >= MOST_KINDS:
            self._drop_old(now_ns)
            if len(self._kinds) >= MOST_KINDS:
                kind = None
                known = self._kinds.get(kind)
        if known is None or _is_old(known, now_ns):
            self._kinds[kind] = _Kind(now_ns)
            self._log.log(level, text, *args, **options)
            return
        known.more += 1
        known.level = level
        known.last = text % args if args else text
        if known.timer is None:
            left_s = WINDOW_S - (now_ns - known.since_ns) / 1e9
            known.timer = self._clock.call_later(left_s, lambda: self._summarise(known))

    def close(self) -> None:
        """Say what was counted and not said yet; idempotent."""
        for known in self._kinds.values():
            if known.timer is not None:
                known.timer.cancel()
                self._summarise(known)
        self._kinds.clear()

    def _summarise(self, known: _Kind) -> None:
        self._log.log(known.level, "%d more like this within a minute, the last: %s", known.more, known.last)
        known.since_ns = self._clock.now_ns()
        known.more = 0
        known.timer = None

    def _drop_old(self, now_ns: int) -> None:
        for kind in [kind for kind, known in self._kinds.items() if _is_old(known, now_ns)]:
            del self._kinds[kind]


def _is_old(known: _Kind, now_ns: int) -> bool:
    return known.timer is None and now_ns - known.since_ns >= WINDOW_S * 1e9
