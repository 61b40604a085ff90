"""What becomes of a message that ``send`` accepted: receipts, and the ledger that counts their outcomes."""

from __future__ import annotations

import asyncio
import functools
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Watcher = Callable[[Exception | None], None]


class Outcome(Enum):
    """Where an accepted message is, or how it ended. Every one ends as exactly one of the last five."""

    IN_FLIGHT = "in_flight"
    ACKED = "acked"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    LOST = "lost"


IN_FLIGHT = Outcome.IN_FLIGHT
ACKED = Outcome.ACKED


class Ledger:
    """Counts the outcomes of one connection's messages.

    ``accepted == acked + expired + rejected + superseded + lost + in_flight`` holds at every instant; each
    term is counted on its own, so the sum is a check and not a definition.

    Attributes:
        awaited: Receipts whose :attr:`Receipt.applied` somebody awaits.
        over: Why the connection is over, None while it is not: nothing will be applied from then on.
        running: Messages whose handlers still run as tasks at the peer.
        running_bytes: What they weigh.
    """

    __slots__ = (
        "accepted",
        "acked",
        "awaited",
        "expired",
        "in_flight",
        "lost",
        "over",
        "rejected",
        "running",
        "running_bytes",
        "superseded",
    )

    def __init__(self) -> None:
        self.awaited: set[Receipt] = set()
        self.over: Exception | None = None
        self.running = 0
        self.running_bytes = 0
        self.accepted = 0
        self.acked = 0
        self.expired = 0
        self.rejected = 0
        self.superseded = 0
        self.lost = 0
        self.in_flight = 0

    def counts(self) -> dict[str, int]:
        """Return every term by name."""
        return {name: getattr(self, name) for name in ("accepted", *(o.value for o in Outcome))}

    def end(self, reason: Exception) -> None:
        """The connection is over: whoever awaits an application is told, now or later."""
        self.over = reason
        for receipt in list(self.awaited):
            receipt.apply(reason)

    def balanced(self) -> bool:
        """Whether no message is unaccounted for."""
        ended = self.acked + self.expired + self.rejected + self.superseded + self.lost
        return self.accepted == ended + self.in_flight


class Delivery(Protocol):
    """The receiving side's end of a receipt."""

    def begin(self, nbytes: int) -> None:
        """Report that handlers run as a task from now on and hold ``nbytes`` bytes."""
        ...

    def finish(self) -> None:
        """Report that this task is over; once after each :meth:`begin`."""
        ...

    def apply(self, error: Exception | None = None) -> None:
        """Report that the handler returned, or how it failed. Only the first report counts."""
        ...


class Receipt:
    """What ``send`` returns: the message is queued here. Truthy unless it was rejected.

    Each use of :attr:`delivered` and :attr:`applied` makes an awaitable of its own: cancelling one of them,
    by a timeout for instance, changes nothing for the others.

    Attributes:
        outcome: How far it came.
        error: Why it ended badly, or None.
        handled: Whether its handlers have returned.
    """

    # Class defaults: most receipts never set these, and making one is on the way of every message.
    error: Exception | None = None
    handled = False
    _running = False
    _running_bytes = 0
    _handler_error: Exception | None = None
    _delivered: tuple[asyncio.Future[None], ...] = ()
    _watchers: tuple[Watcher, ...] = ()

    def __init__(self, ledger: Ledger, outcome: Outcome = IN_FLIGHT) -> None:
        """Count one more accepted message in ``ledger``: in flight, or acked if the peer has it already."""
        self._ledger = ledger
        self.outcome = outcome
        ledger.accepted += 1
        if outcome is ACKED:
            ledger.acked += 1
        else:
            ledger.in_flight += 1

    def __bool__(self) -> bool:
        return self.outcome is not Outcome.REJECTED

    def __repr__(self) -> str:
        return f"<Receipt {self.outcome.value}{' applied' if self.handled else ''}>"

    @property
    def delivered(self) -> Awaitable[None]:
        """Await this to know that the peer has taken the message.

        Raises (when awaited):
            Exception: :attr:`error`, if it ended in any other way.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.outcome is Outcome.IN_FLIGHT:
            self._delivered = (*self._delivered, future)
        else:
            _complete(future, self.error)
        return future

    @property
    def applied(self) -> Awaitable[None]:
        """Await this to know that the peer's handler has returned.

        Raises (when awaited):
            RemoteError: The handler raised.
            PeerLost: The peer died first.
            ConnectionClosed, ConnectionBroken: The connection ended first.
            Exception: :attr:`error`, if the message never reached it.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_applied(functools.partial(_complete, future))
        return future

    def on_applied(self, watcher: Watcher) -> None:
        """Call ``watcher`` once when the peer's handler has returned, at once if it has.

        It gets None, or what awaiting :attr:`applied` would raise. It must not raise.
        """
        if self.handled:
            watcher(self._handler_error)
        elif self.error is not None or self._ledger.over is not None:
            watcher(self.error or self._ledger.over)
        else:
            self._watchers = (*self._watchers, watcher)
            self._ledger.awaited.add(self)

    def ack(self) -> None:
        """The peer has taken the message. No effect once it has ended."""
        if self.outcome is Outcome.IN_FLIGHT:
            self.outcome = Outcome.ACKED
            self._ledger.in_flight -= 1
            self._ledger.acked += 1
            for future in self._delivered:
                _complete(future, None)

    def settle(self) -> None:
        """The peer has taken the message, and its handlers have returned: :meth:`ack` and :meth:`apply`."""
        ledger = self._ledger
        if self.outcome is IN_FLIGHT:
            self.outcome = ACKED
            ledger.in_flight -= 1
            ledger.acked += 1
            for future in self._delivered:
                _complete(future, None)
        if self._running:
            self._running = False
            ledger.running -= 1
            ledger.running_bytes -= self._running_bytes
        if self.error is None and not self.handled:
            self.handled = True
            if self._watchers:
                ledger.awaited.discard(self)
                self._tell(None)

    def end(self, outcome: Outcome, error: Exception) -> None:
        """The message ended without being taken. No effect once it has ended."""
        if self.outcome is not Outcome.IN_FLIGHT:
            return
        self.outcome = outcome
        self.error = error
        self._ledger.in_flight -= 1
        setattr(self._ledger, outcome.value, getattr(self._ledger, outcome.value) + 1)
        self._ledger.awaited.discard(self)
        for future in self._delivered:
            _complete(future, error)
        self._tell(error)

    def begin(self, nbytes: int) -> None:
        """The peer's handlers run as a task from now on, and hold ``nbytes`` bytes."""
        self._running = True
        self._running_bytes = nbytes
        self._ledger.running += 1
        self._ledger.running_bytes += nbytes

    def finish(self) -> None:
        """That task is over, if there is one. Not part of :meth:`apply`, the way of every message."""
        if self._running:
            self._running = False
            self._ledger.running -= 1
            self._ledger.running_bytes -= self._running_bytes

    def apply(self, error: Exception | None = None) -> None:
        """The peer's handler returned (``error`` None) or failed. Only the first report counts.

        No effect on a message that ended without being taken.
        """
        if self.handled or self.error is not None:
            return
        self.handled = True
        self._handler_error = error
        if self._watchers:
            self._ledger.awaited.discard(self)
            self._tell(error)

    def _tell(self, error: Exception | None) -> None:
        watchers, self._watchers = self._watchers, ()
        for watcher in watchers:
            watcher(error)


def _complete(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # the receipt keeps the error: nobody is obliged to await
