"""Doorway: takes connections at a port, and keeps those that do not say who they are from filling it."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from errno import EADDRNOTAVAIL
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from fedbench.throttle import Throttle

log = logging.getLogger("fedbench.transport")

BACKLOG = 1024
AT_ONCE = 16
"""So many connections are taken in one pass of the loop: what is cut in it is closed in the next."""
PAUSE_S = 0.1
MOST_STRANGERS = 4096


class Terms(NamedTuple):
    """How long, and how many, connections may stay that do not say who they are.

    Attributes:
        context: TLS, None to speak without.
        deadline_s: Seconds for the TLS handshake, and for the head of the first request.
        most: Returns how many there may be now; never are there more than 4096.
    """

    context: ssl.SSLContext | None
    deadline_s: float
    most: Callable[[], int]


class _Stranger:
    """A connection that has not said who it is."""

    __slots__ = ("asked", "socket", "timer")

    def __init__(self, taken: socket.socket) -> None:
        self.socket = taken
        self.asked = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def gone(self) -> bool:
        """Whether it is closed."""
        return self.socket.fileno() < 0

    def cut(self) -> None:
        """Cut it, in the middle of a TLS handshake too; its protocol hears of it."""
        if self.timer is not None:
            self.timer.cancel()
        with suppress(OSError):  # it was cut by the other side
            self.socket.shutdown(socket.SHUT_RDWR)


class Doorway:
    """Takes connections. Each is a stranger until :meth:`let_in`; of too many the oldest is cut.

    Args:
        make: Returns what speaks on a new connection.
        terms: What strangers may.
        throttle: Logs what they do.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], terms: Terms, throttle: Throttle) -> None:
        self._make = make
        self._terms = terms
        self._throttle = throttle
        self._strangers: dict[asyncio.BaseProtocol, _Stranger] = {}
        self._beginning: dict[asyncio.Task[None], _Stranger] = {}
        self._listening: list[socket.socket] = []
        self._cleared_s = 0.0

    async def listen(self, host: str, port: int) -> int:
        """Take connections; return the port.

        Raises:
            OSError: It is in use, or the address is not this machine's.
        """
        loop = asyncio.get_running_loop()
        flags = socket.AI_PASSIVE
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._bind(family, address)
            if not self._listening:
                raise OSError(EADDRNOTAVAIL, "no such address can be listened at")
        except BaseException:
            self.stop()
            raise
        self._resume()
        bound: int = self._listening[0].getsockname()[1]
        return bound

    def asked(self, protocol: asyncio.BaseProtocol) -> None:
        """A request has come on it: it has kept its deadline."""
        stranger = self._strangers.get(protocol)
        if stranger is not None:
            stranger.asked = True

    def let_in(self, protocol: asyncio.BaseProtocol) -> None:
        """It has said who it is; idempotent."""
        stranger = self._strangers.pop(protocol, None)
        if stranger is not None and stranger.timer is not None:
            stranger.timer.cancel()

    def stop(self) -> None:
        """Take no more; idempotent."""
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
            listening.close()
        self._listening.clear()

    async def close(self) -> None:
        """Stop, and cut who is in the middle of a TLS handshake; idempotent. Watches nobody any more."""
        self.stop()
        for stranger in self._beginning.values():
            stranger.cut()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        for stranger in self._strangers.values():
            if stranger.timer is not None:
                stranger.timer.cancel()
        self._strangers.clear()

    # Taking ------------------------------------------------------------------------------------------

    def _bind(self, family: int, address: tuple[Any, ...]) -> None:
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            return  # the machine does not speak that family
        self._listening.append(made)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            made.bind(address)
        except OSError as error:
            if error.errno != EADDRNOTAVAIL:
                raise
            self._listening.pop().close()  # not this machine's, like ::1 where IPv6 is switched off
            return
        made.listen(BACKLOG)

    def _resume(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.add_reader(listening, self._take, listening)

    def _take(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                taken, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            taken.setblocking(False)
            self._welcome(taken)

    def _pause(self, error: OSError) -> None:
        """There is no descriptor, or no memory, for one more: make room and try again soon."""
        text = "takes no connections for %g s: %s; allow more with `ulimit -n`"
        self._throttle.warning("accept", text, PAUSE_S, error.strerror)
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
        if self._strangers:
            self._cut_oldest()
        loop.call_later(PAUSE_S, self._resume)

    def _welcome(self, taken: socket.socket) -> None:
        self._make_room()
        loop = asyncio.get_running_loop()
        protocol, stranger = self._make(), _Stranger(taken)
        self._strangers[protocol] = stranger
        stranger.timer = loop.call_later(self._terms.deadline_s, self._late, protocol, stranger)
        task = loop.create_task(self._begin(protocol, taken))
        self._beginning[task] = stranger
        task.add_done_callback(self._beginning.pop)

    async def _begin(self, protocol: asyncio.Protocol, taken: socket.socket) -> None:
        context, deadline_s, _ = self._terms
        loop = asyncio.get_running_loop()
        limit_s = None if context is None else deadline_s
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, taken, ssl=context, ssl_handshake_timeout=limit_s
            )
        except OSError as error:
            log.debug("a connection was not begun: %s", error)
            self.let_in(protocol)
            taken.close()

    # Strangers ---------------------------------------------------------------------------------------

    def _late(self, protocol: asyncio.BaseProtocol, stranger: _Stranger) -> None:
        """It has had its time: it is forgotten if it is gone, cut if it has asked for nothing."""
        if stranger.asked and not stranger.gone:
            loop = asyncio.get_running_loop()
            stranger.timer = loop.call_later(self._terms.deadline_s, self._late, protocol, stranger)
            return
        del self._strangers[protocol]
        if not stranger.gone:
            log.debug("a connection without a request is cut after %g s", self._terms.deadline_s)
            stranger.cut()

    def _make_room(self) -> None:
        most = max(min(self._terms.most(), MOST_STRANGERS), 1)
        if len(self._strangers) < most:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._cleared_s >= PAUSE_S:
            self._cleared_s = now_s
            for protocol in [known for known, stranger in self._strangers.items() if stranger.gone]:
                self.let_in(protocol)
        while len(self._strangers) >= most:
            text = "%d connections do not say who they are: the oldest is cut for the newest"
            self._throttle.warning("strangers", text, len(self._strangers))
            self._cut_oldest()

    def _cut_oldest(self) -> None:
        self._strangers.pop(next(iter(self._strangers))).cut()
