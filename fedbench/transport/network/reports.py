"""What became of messages between machines: what was taken, applied, failed and received. Pure.

Totals travel in every frame (:class:`fedbench.codec.wire.Told`): up to which number everything was taken, and
applied without an error. What ends out of order, or fails, travels as news. A failure holds the total back
until the peer has acknowledged its news, so that no total can tell of it as applied.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fedbench.errors import RemoteError, RemoteProtocolError
from fedbench.transport.network.session import BUSINESS, CONTROL, LANES, Lane
from fedbench.transport.receipt import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedbench.transport.network.session import Numbers
    from fedbench.transport.receipt import Receipt

MAX_ENTRIES = 8
MAX_TEXT_BYTES = 1000


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """How a handler failed, its texts cut to 1000 bytes each."""

    type_name: str
    message: str
    traceback_text: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """The handlers of a message have returned, or failed."""

    lane: Lane
    number: int
    failure: Failure | None


News = tuple[Entry, ...]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(News)


def encode_news(news: News) -> bytes:
    """Return news as bytes; they fit into a frame."""
    return _encoder.encode(news)


def decode_news(payload: bytes | memoryview) -> News:
    """Return the news that ``payload`` holds.

    Raises:
        RemoteProtocolError: It holds none.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"news cannot be read: {error}") from error


class Taken:
    """The receiving side: which handlers have not returned without an error, and what is to be told of it.

    Attributes:
        changed: Set when :meth:`applied` may give something else; whoever has asked unsets it.
        waiting: Entries of news that are not on their way yet.
    """

    def __init__(self) -> None:
        self.changed = False
        self.waiting: deque[Entry] = deque()
        self._open: dict[Lane, dict[int, None]] = {CONTROL: {}, BUSINESS: {}}

    @property
    def running(self) -> int:
        """Messages that were taken and of which the peer does not know that they were applied."""
        return len(self._open[CONTROL]) + len(self._open[BUSINESS])

    def applied(self, received: Numbers) -> tuple[int, int]:
        """Return up to which control and business message everything was applied, of those received."""
        control, business = self._open.values()
        return (
            next(iter(control)) - 1 if control else received[CONTROL],
            next(iter(business)) - 1 if business else received[BUSINESS],
        )

    def take(self, lane: Lane, number: int, *, applied: bool, error: RemoteError | None = None) -> None:
        """Note a message that was handed over; ``applied`` says whether its handlers have returned."""
        if applied and error is None:
            return
        self.changed = True
        self._open[lane][number] = None
        if error is not None:
            self.waiting.append(Entry(lane, number, _failure(error)))

    def finish(self, lane: Lane, number: int, error: RemoteError | None = None) -> None:
        """The handlers of a message that was not applied when it was taken have returned."""
        running = self._open[lane]
        self.changed = True
        if error is not None:
            self.waiting.append(Entry(lane, number, _failure(error)))
            return
        first = next(iter(running))
        del running[number]
        if number != first:
            self.waiting.append(Entry(lane, number, None))

    def news(self) -> News:
        """Return the next news, as many as fit into a frame; none if there are none."""
        return tuple(islice(self.waiting, MAX_ENTRIES))

    def sent(self, news: News) -> None:
        """These, which :meth:`news` has returned, are on their way, and will arrive if anything does."""
        for _ in news:
            self.waiting.popleft()

    def told(self, news: News) -> None:
        """The peer has acknowledged news."""
        self.changed = True
        for entry in news:
            if entry.failure is not None:
                del self._open[entry.lane][entry.number]


class Sent:
    """The sending side: what the peer has taken and not applied yet, and what nobody there has received.

    Args:
        peer_id: Who tells, for errors.
    """

    def __init__(self, peer_id: str) -> None:
        self._peer_id = peer_id
        self._count = [0] * len(LANES)
        self._running: tuple[dict[int, Receipt], ...] = tuple({} for _ in LANES)  # by lane and number
        self._data: deque[int] = deque()
        self._data_bytes = 0
        self._consumed = 0

    @property
    def data(self) -> tuple[int, int]:
        """How many ``DATA`` messages nobody has received yet, and their bytes."""
        return len(self._data), self._data_bytes

    def add_data(self, nbytes: int) -> None:
        """One more ``DATA`` message of that many bytes was accepted."""
        self._data.append(nbytes)
        self._data_bytes += nbytes

    def take(self, lane: Lane, receipt: Receipt, total: int) -> None:
        """The peer has taken the next message of a lane, and applied everything up to a total."""
        number = self._count[lane] = self._count[lane] + 1
        running = self._running[lane]
        if number <= total and not running:
            receipt.settle()  # applied in order when it was taken, as most are
        else:
            running[number] = receipt
            receipt.ack()

    def applied(self, control: int, business: int) -> None:
        """The peer has applied everything up to two totals.

        Raises:
            RemoteProtocolError: It has not taken all of that.
        """
        if control > self._count[CONTROL] or self._running[CONTROL]:
            self._applied(CONTROL, control)
        if business > self._count[BUSINESS] or self._running[BUSINESS]:
            self._applied(BUSINESS, business)

    def _applied(self, lane: Lane, total: int) -> None:
        if total > self._count[lane]:
            raise RemoteProtocolError(
                f"{total} {lane.name} messages are reported as applied, {self._count[lane]} were taken"
            )
        running = self._running[lane]
        while running and (first := next(iter(running))) <= total:
            running.pop(first).settle()

    def heard(self, news: News) -> None:
        """The peer tells how handlers ended.

        Raises:
            RemoteProtocolError: Of messages that it has not taken, or whose end it has told before.
        """
        for entry in news:
            receipt = self._running[entry.lane].pop(entry.number, None)
            if receipt is None:
                if entry.failure is None and 0 < entry.number <= self._count[entry.lane]:
                    continue  # a total has told it first
                raise RemoteProtocolError(
                    f"{entry.lane.name} message {entry.number} is reported as applied and was not running"
                )
            failure = entry.failure
            if failure is None:
                receipt.settle()
                continue
            receipt.ack()
            receipt.finish()
            receipt.apply(
                RemoteError(self._peer_id, failure.type_name, failure.message, failure.traceback_text)
            )

    def consumed(self, total: int) -> bool:
        """So many ``DATA`` messages were received, less those that lay there before; whether that is news.

        Raises:
            RemoteProtocolError: More than were sent, or less than before.
        """
        count, self._consumed = total - self._consumed, total
        if not count:
            return False
        if count < 0 and (self._data or total != count):
            raise RemoteProtocolError(f"{total} messages are reported as received, fewer than before")
        if count > len(self._data):
            raise RemoteProtocolError(f"{count} messages are reported as received, {len(self._data)} wait")
        self._data.extend([0] * -count)
        for _ in range(count):
            self._data_bytes -= self._data.popleft()
        return True

    def lose(self, unacknowledged: Sequence[Receipt], reason: Exception) -> None:
        """The connection is over: what is not acknowledged is lost."""
        for receipt in unacknowledged:
            receipt.end(Outcome.LOST, reason)
        for running in self._running:
            running.clear()


class TakenMessage:
    """The receiving side of one message.

    Args:
        node_id: The node that takes it.
        taken: Where it is noted.
        on_finish: Called when handlers that ran on have returned.
    """

    __slots__ = ("_applied", "_error", "_node_id", "_on_finish", "_place", "_taken")

    def __init__(self, node_id: str, taken: Taken, on_finish: Callable[[], None]) -> None:
        self._node_id = node_id
        self._taken = taken
        self._on_finish = on_finish
        self._applied = False
        self._error: RemoteError | None = None
        self._place: tuple[Lane, int] | None = None

    def begin(self, nbytes: int) -> None:
        """Nothing to do: what is not applied when it is taken runs on."""

    def finish(self) -> None:
        """Nothing to do: the application tells it."""

    def apply(self, error: Exception | None = None) -> None:
        """The handlers have returned; only the first report counts."""
        if self._applied:
            return
        self._applied = True
        if error is not None:
            told = RemoteError(self._node_id, type(error).__name__, str(error))
            self._error = error if isinstance(error, RemoteError) else told
        if self._place is not None:
            self._taken.finish(*self._place, self._error)
            self._on_finish()

    def taken(self, lane: Lane, number: int) -> bool:
        """It was handed over as the message of that number; return whether its handlers have returned."""
        self._place = (lane, number)
        self._taken.take(lane, number, applied=self._applied, error=self._error)
        return self._applied


def _failure(error: RemoteError) -> Failure:
    return Failure(_cut(error.type_name), _cut(error.message), _cut(error.traceback_text, keep_end=True))


def _cut(text: str, *, keep_end: bool = False) -> str:
    data = text.encode(errors="replace")
    if len(data) <= MAX_TEXT_BYTES:
        return text
    data = data[-MAX_TEXT_BYTES:] if keep_end else data[:MAX_TEXT_BYTES]
    return data.decode(errors="ignore")
