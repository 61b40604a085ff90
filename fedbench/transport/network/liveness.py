"""Liveness: servers let their clients hear of them and are answered; what has become silent is cut."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer
    from fedbench.transport.network.link import Carrier

log = logging.getLogger("fedbench.transport")

BEAT_SHARE = 0.7
PATIENCE_SHARE = 1.45
QUIET_SHARE = 0.1
LAZY_S = 0.5


class Watched(Protocol):
    """An end of a connection, as what watches its link sees it.

    Attributes:
        peer_id: Who is at the other end.
        heartbeat_s: The server's heartbeat, in seconds.
    """

    peer_id: str
    heartbeat_s: float

    def beat(self) -> None:
        """Ask the peer for a sign of life."""
        ...


class Liveness(ABC):
    """Watches links of a node and cuts those that have become silent. Whatever comes is a sign of life.

    It has one timer, however many links there are; none while there is no link.

    Attributes:
        quiet_share: Heartbeats after which an end to which something comes says that it lives, although it
            was not asked: behind what a slow line still has to carry, nobody hears the question.

    Args:
        clock: Time.
    """

    quiet_share: ClassVar[float]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[Carrier, Watched] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._links)

    @abstractmethod
    def add(self, link: Carrier, end: Watched) -> None:
        """Watch the link of an end of a connection until :meth:`remove`, or until it is cut."""

    def remove(self, link: Carrier) -> None:
        """Watch it no more; idempotent."""
        self._links.pop(link, None)
        if not self._links:
            self.close()

    def close(self) -> None:
        """Stop the timer; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, link: Carrier, now_ns: int) -> None:
        peer_id = self._links.pop(link).peer_id
        silent_s = (now_ns - link.heard_ns) / 1e9
        log.info("the link to %s is cut: nothing came for %.1f s", peer_id, silent_s)
        link.abort()


class Pacemaker(Liveness):
    """The server's side: asks every client for a sign of life each 0.7 heartbeats.

    A link on which nothing came since the last beat is cut at the next one: half-open links are noticed
    within 1.4 heartbeats of their last life, and an answer may be late by 0.7.

    Args:
        clock: Time.
        heartbeat_s: The heartbeat, in seconds.
    """

    quiet_share: ClassVar[float] = math.inf  # it asks: that says that it lives

    def __init__(self, clock: Clock, heartbeat_s: float) -> None:
        super().__init__(clock)
        self._tick_s = heartbeat_s * BEAT_SHARE
        self._beaten_ns = 0

    def add(self, link: Carrier, end: Watched) -> None:
        """As :meth:`Liveness.add`; the end is asked to beat."""
        self._links[link] = end
        if self._timer is None:
            self._beaten_ns = 0  # nobody has been asked
            self._timer = self._clock.call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_ns, beaten_ns = self._clock.now_ns(), self._beaten_ns
        self._beaten_ns = now_ns
        for link, end in list(self._links.items()):
            if link.heard_ns < beaten_ns:
                self._cut(link, now_ns)
            else:
                end.beat()
        if self._links:
            self._timer = self._clock.call_later(self._tick_s, self._tick)


class Watchdog(Liveness):
    """The client's side: wakes when the link that was heard longest ago would have been silent for too long.

    A link that was silent for 1.45 heartbeats is cut, so half-open ones are noticed within 1.5. Beats come
    each 0.7, so an idle client wakes for each beat and, right behind every second one, for the timer.

    Args:
        clock: Time.
    """

    quiet_share: ClassVar[float] = QUIET_SHARE

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._due_ns = 0

    def add(self, link: Carrier, end: Watched) -> None:
        """As :meth:`Liveness.add`; each may have a heartbeat of its own."""
        self._links[link] = end
        if self._timer is None or _patience_over_ns(link, end) < self._due_ns:
            self._wind()

    def _wind(self) -> None:
        """Have the timer run when the first link may have been silent for too long."""
        self.close()
        if self._links:
            self._due_ns = min(_patience_over_ns(link, end) for link, end in self._links.items())
            delay_s = max(self._due_ns - self._clock.now_ns(), 0) / 1e9
            self._timer = self._clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now_ns = self._clock.now_ns()
        for link, end in list(self._links.items()):
            if now_ns >= _patience_over_ns(link, end):
                self._cut(link, now_ns)
        self._wind()


def _patience_over_ns(link: Carrier, end: Watched) -> int:
    """Return when a link that stays silent is to be cut."""
    return link.heard_ns + round(end.heartbeat_s * PATIENCE_SHARE * 1e9)


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
