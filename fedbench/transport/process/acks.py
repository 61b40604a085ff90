"""Acknowledgements of a connection between processes: which messages were taken, applied, received. Pure.

Every frame tells how many messages its sender has taken so far; one that was taken and needs no note was
applied without an error. Whatever else is to be told travels as :class:`Notes`.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fedbench.errors import RemoteError, RemoteProtocolError
from fedbench.transport.receipt import Outcome

if TYPE_CHECKING:
    from fedbench.transport.receipt import Receipt

MAX_RUNNING = 64
MAX_FINISHED = 64
MAX_RELEASED = 64
MAX_TEXT_BYTES = 1000
MAX_WAITED = 1 << 20


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """How a handler failed, its texts cut to 1000 bytes each."""

    type_name: str
    message: str
    traceback_text: str


class Notes(msgspec.Struct, frozen=True, array_like=True):
    """What is told beside the number of messages taken.

    Attributes:
        running: Numbers of messages that were taken and whose handlers have not returned.
        finished: Numbers of messages whose handlers have returned since, and how they failed.
        consumed: ``DATA`` messages that somebody has received since the last notes. Negative at the start of
            a connection whose queue still holds some from an earlier one.
        released: Leases of the receiver of these notes that the sender needs no more.
    """

    running: list[int] = []
    finished: list[tuple[int, Failure | None]] = []
    consumed: int = 0
    released: list[int] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Notes)


def encode_notes(notes: Notes) -> bytes:
    """Return notes as bytes; they fit into a frame."""
    return _encoder.encode(notes)


def decode_notes(payload: bytes) -> Notes:
    """Return the notes that ``payload`` holds.

    Raises:
        RemoteProtocolError: It holds none.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"notes cannot be read: {error}") from error


class Taken:
    """The receiving side: what has been taken and what the sender has not been told of it.

    Attributes:
        count: Messages taken so far.
        told: How many of them the sender has been told of.
        released: Leases that are not needed any more; each frame tells of the first, notes of more.
    """

    def __init__(self) -> None:
        self.count = 0
        self.told = 0
        self._untold: dict[int, Failure | None] = {}  # in order of number; None while the handlers run
        self._late: deque[tuple[int, Failure | None]] = deque()
        self.released: deque[int] = deque()
        self._consumed = 0
        self.release = self.released.extend
        """Note that what was lent under these numbers is not read any more; from any thread."""

    @property
    def noted(self) -> bool:
        """Whether there is something that only notes can tell."""
        return bool(self._untold or self._late or self._consumed) or len(self.released) > 1

    @property
    def pending(self) -> bool:
        """Whether the sender has not been told of everything."""
        return self.count > self.told or bool(self.released) or self.noted

    def take(self, *, applied: bool, error: RemoteError | None = None) -> int:
        """Count one more message; ``applied`` says whether its handlers have returned. Return its number."""
        self.count += 1
        if not applied:
            self._untold[self.count] = None
        elif error is not None:
            self._untold[self.count] = _failure(error)
        return self.count

    def finish(self, number: int, error: RemoteError | None = None) -> None:
        """The handlers of a message that was not applied when it was taken have returned."""
        failure = None if error is None else _failure(error)
        if number not in self._untold:
            self._late.append((number, failure))
        elif failure is None:
            del self._untold[number]
        else:
            self._untold[number] = failure

    def consume(self, count: int = 1) -> None:
        """``count`` more ``DATA`` messages were received by somebody."""
        self._consumed += count

    def notes(self) -> tuple[Notes, int]:
        """Return the next notes, as many as fit into a frame, and how many messages they tell as taken.

        The frame that they travel in tells of the first of :attr:`released` beside them.
        """
        running: list[int] = []
        finished: list[tuple[int, Failure | None]] = []
        acknowledged = self.count
        for number, failure in self._untold.items():
            if finished or len(running) == MAX_RUNNING:  # one failure a frame
                acknowledged = number - 1
                break
            if failure is None:
                running.append(number)
            else:
                finished.append((number, failure))
        if not finished:
            for number, failure in islice(self._late, MAX_FINISHED):
                if failure is not None and finished:
                    break
                finished.append((number, failure))
                if failure is not None:
                    break
        failed = any(failure is not None for _, failure in finished)
        released = [] if failed else list(islice(self.released, 1, 1 + MAX_RELEASED))
        return Notes(running, finished, self._consumed, released), acknowledged

    def only(self, notes: Notes) -> bool:
        """Whether these notes, which :meth:`notes` has returned, are all there are."""
        told = len(notes.running) + len(notes.finished) + len(notes.released)
        return told == len(self._untold) + len(self._late) + max(len(self.released) - 1, 0)

    def tell(self, acknowledged: int, lease: int, notes: Notes | None) -> None:
        """A frame that tells this is on its way."""
        self.told = acknowledged
        if lease:
            self.released.popleft()
        if notes is None:
            return
        for number in notes.running:
            del self._untold[number]
        for number, _ in notes.finished:
            if self._untold.pop(number, self) is self:
                self._late.popleft()
        for _ in notes.released:
            self.released.popleft()
        self._consumed -= notes.consumed


class Outstanding:
    """The sending side: what has been sent and is not acknowledged, in the order of sending.

    Args:
        peer_id: Who acknowledges, for errors.
    """

    def __init__(self, peer_id: str) -> None:
        self._peer_id = peer_id
        self._sent: deque[Receipt] = deque()
        self.add = self._sent.append
        """Note that the message of a receipt was written."""
        self._acknowledged = 0
        self._running: dict[int, Receipt] = {}
        self._data: deque[int] = deque()
        self._data_bytes = 0

    @property
    def data(self) -> tuple[int, int]:
        """How many ``DATA`` messages nobody has received yet, and their bytes."""
        return len(self._data), self._data_bytes

    def add_data(self, nbytes: int) -> None:
        """It is a ``DATA`` message of that many bytes."""
        self._data.append(nbytes)
        self._data_bytes += nbytes

    def acknowledge(self, count: int, notes: Notes | None = None) -> None:
        """The peer has taken ``count`` messages so far, and notes what ``notes`` say.

        Raises:
            RemoteProtocolError: It acknowledges what was never sent, or what is over.
        """
        if count > self._acknowledged + len(self._sent):
            raise RemoteProtocolError(
                f"{count} messages are acknowledged, {self._acknowledged + len(self._sent)} were sent"
            )
        if notes is None:  # the way of every answer
            while self._acknowledged < count:
                self._acknowledged += 1
                self._sent.popleft().settle()
            return
        running, finished = notes.running, dict(notes.finished)
        while self._acknowledged < count:
            self._acknowledged += 1
            receipt = self._sent.popleft()
            if self._acknowledged in running:
                receipt.ack()
                self._running[self._acknowledged] = receipt
            else:
                self._apply(receipt, finished.pop(self._acknowledged, None))
        for number, failure in finished.items():
            late = self._running.pop(number, None)
            if late is None:
                raise RemoteProtocolError(f"message {number} is reported as applied and was not running")
            self._apply(late, failure)
        if notes.consumed:
            self._consume(notes.consumed)

    def lose(self, reason: Exception) -> None:
        """The connection is over: what is not acknowledged is lost."""
        while self._sent:
            self._sent.popleft().end(Outcome.LOST, reason)
        self._running.clear()

    def _apply(self, receipt: Receipt, failure: Failure | None) -> None:
        if failure is not None:
            receipt.ack()
            receipt.finish()
            receipt.apply(
                RemoteError(self._peer_id, failure.type_name, failure.message, failure.traceback_text)
            )
        else:
            receipt.settle()

    def _consume(self, count: int) -> None:
        if count > len(self._data):
            raise RemoteProtocolError(f"{count} messages are reported as received, {len(self._data)} wait")
        if count < -MAX_WAITED:
            raise RemoteProtocolError(f"{-count} messages are reported as waiting since earlier")
        for _ in range(-count):
            self._data.appendleft(0)
        for _ in range(count):
            self._data_bytes -= self._data.popleft()


def _failure(error: RemoteError) -> Failure:
    return Failure(_cut(error.type_name), _cut(error.message), _cut(error.traceback_text, keep_end=True))


def _cut(text: str, *, keep_end: bool = False) -> str:
    """Return text that can be encoded and is not too long: half a surrogate pair would jam the queue."""
    data = text.encode(errors="replace")
    data = data[-MAX_TEXT_BYTES:] if keep_end else data[:MAX_TEXT_BYTES]
    return data.decode(errors="ignore")
