"""Liveness: one tick a node that lets peers hear of it, and cuts links that have become silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer
    from fedbench.transport.network.link import Carrier

log = logging.getLogger("fedbench.transport")

TICK_SHARE = 0.6
SILENT_SHARE = 0.9
LAZY_S = 0.5


class Liveness:
    """Watches the links of a node. One timer, however many; none while there is no link.

    Both ends tick each 0.6 heartbeats and write something to every link, so that none is silent for longer.
    A link that was silent for 0.9 heartbeats is cut at the next tick: half-open links are noticed within 1.5
    heartbeats, and what is alive may be late by 0.3. Any frame is a sign of life.

    Args:
        clock: Time.
        heartbeat_s: The heartbeat, in seconds.
    """

    def __init__(self, clock: Clock, heartbeat_s: float) -> None:
        self._clock = clock
        self._tick_s = heartbeat_s * TICK_SHARE
        self._silent_ns = round(heartbeat_s * SILENT_SHARE * 1e9)
        self._links: dict[Carrier, tuple[str, Callable[[], None]]] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._links)

    def add(self, link: Carrier, peer_id: str, beat: Callable[[], None]) -> None:
        """Watch a link until :meth:`remove`; ``beat`` has something written to it."""
        self._links[link] = (peer_id, beat)
        if self._timer is None:
            self._timer = self._clock.call_later(self._tick_s, self._tick)

    def remove(self, link: Carrier) -> None:
        """Watch it no more; idempotent."""
        self._links.pop(link, None)
        if not self._links:
            self.close()

    def close(self) -> None:
        """Stop ticking; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._clock.call_later(self._tick_s, self._tick)
        now_ns = self._clock.now_ns()
        for link, (peer_id, beat) in list(self._links.items()):
            silent_ns = now_ns - link.heard_ns
            if silent_ns >= self._silent_ns:
                log.info("the link to %s is cut: nothing came for %.1f s", peer_id, silent_ns / 1e9)
                link.abort()
            else:
                beat()


class Lazily:
    """Does later, all at once, what nobody waits for. One timer; none while there is nothing to do.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._actions: set[Callable[[], None]] = set()
        self._timer: Timer | None = None

    def add(self, action: Callable[[], None]) -> None:
        """Call ``action`` within half a second, once however often it is added until then."""
        self._actions.add(action)
        if self._timer is None:
            self._timer = self._clock.call_later(LAZY_S, self._run)

    def discard(self, action: Callable[[], None]) -> None:
        """Forget an action; idempotent."""
        self._actions.discard(action)

    def close(self) -> None:
        """Forget all; idempotent."""
        self._actions.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        actions, self._actions = self._actions, set()
        for action in actions:
            action()
