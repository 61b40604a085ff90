"""Exchange: the frames of a session, made and taken. Pure: it knows neither links nor time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fedbench.codec import heads
from fedbench.codec.heads import Arrived, Assembly
from fedbench.codec.wire import (
    BEAT,
    CHUNK,
    CHUNK_BYTES,
    GOODBYE,
    HEAD,
    MAX_REASON_BYTES,
    NOTHING_TOLD,
    TOLD,
    decode_frame,
    encode_frame,
)
from fedbench.errors import Overloaded, RemoteProtocolError
from fedbench.transport.network.reports import News, Sent, Taken, decode_news, encode_news
from fedbench.transport.network.session import (
    BUSINESS,
    CONTROL,
    LANES,
    NEWS,
    NO_BULK,
    Item,
    Lane,
    Position,
    Session,
)
from fedbench.transport.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench.codec.wire import Frame, Parts, Told
    from fedbench.tensors.store import TensorStore
    from fedbench.transport.inbox import Limits
    from fedbench.transport.network.session import Numbers

Done = tuple[Lane, Item[Receipt | News]]


class Came(msgspec.Struct, frozen=True):
    """A message that has come in full: its lane, its number in it, and the message itself."""

    lane: Lane
    number: int
    arrived: Arrived


class Goodbye(NamedTuple):
    """The peer ends in order, and why."""

    reason: str


class Exchange:
    """Everything of a session but its links: numbers, receipts, chunks, and what is told beside them.

    Args:
        peer_id: Who is at the other end.
        epoch: Epoch of the session.
        limits: Bounds of what waits for its acknowledgement.
        store: Where received models come to lie.

    Attributes:
        sent: What became of the messages sent.
        taken: What became of the messages received.
        consumed: ``DATA`` messages that somebody took out of the inbox, less those that lay in it before.
        urgent: Whether a frame is to be sent even if it only tells.
        ask: Whether the peer is to be asked for a frame, before anything else is sent.
        room: Set when the peer has made room; whoever lets waiting senders go unsets it.
        add: Has a message sent, see :meth:`Session.add`.
    """

    def __init__(self, peer_id: str, epoch: int, limits: Limits, store: TensorStore) -> None:
        self.sent = Sent(peer_id)
        self.taken = Taken()
        self.consumed = 0
        self.urgent = self.ask = False
        self.room = False
        self._store = store
        self._session: Session[Receipt | News] = Session(
            epoch, messages=limits.messages, nbytes=limits.nbytes, chunk_bytes=CHUNK_BYTES
        )
        self.add = self._session.add
        self._incoming: dict[Lane, Assembly] = {}
        self._last_told = self._last_heard = NOTHING_TOLD
        self._told_received: Numbers | None = None  # what of it was the session's

    def __str__(self) -> str:
        return str(self._session)

    @property
    def full(self) -> bool:
        """Whether :meth:`add` refuses more."""
        return self._session.full

    @property
    def pending(self) -> bool:
        """Whether the peer has not been told of everything."""
        return self._last_told != self._totals()

    @property
    def position(self) -> Position:
        """What has been received, to be told to the peer when a link begins."""
        return self._session.position

    # Sending -----------------------------------------------------------------------------------------

    def next_frame(self) -> Parts | None:
        """Return what is to be sent next, None if there is nothing."""
        if self.ask:
            self.ask = self.urgent = False
            return encode_frame(BEAT, self._told())
        if self.taken.waiting:
            self._add_news(self.taken.news())
        piece = self._session.take() if self._session.unwritten else None
        if piece is None:
            if not self.urgent:
                return None
            self.urgent = False
            return encode_frame(TOLD, self._told())
        self.urgent = False
        offset = piece.offset
        if offset < 0:
            return encode_frame(HEAD, self._told(), piece.data, piece.lane, piece.number)
        return encode_frame(CHUNK, self._told(), piece.data, piece.lane, piece.number, offset)

    def last_frames(self, why: str, most_bytes: int) -> list[Parts]:
        """Return what is still to be sent, up to a bound, and a goodbye.

        They are copies: they may leave after the session has ended, and with it what they were made of.
        """
        frames: list[Parts] = []
        nbytes = 0
        while nbytes < most_bytes and (frame := self.next_frame()) is not None:
            copied = b"".join(frame)
            frames.append((copied,))
            nbytes += len(copied)
        text = why.encode(errors="replace")[:MAX_REASON_BYTES]
        return [*frames, encode_frame(GOODBYE, self._told(), text)]

    def resume(self, position: Position) -> None:
        """A new link begins, and the peer has this position: send again what it has not received.

        Raises:
            RemoteProtocolError: It cannot be: the session is lost.
        """
        self._acknowledged(self._session.resume(position), 0, 0)
        for lane in (CONTROL, NEWS):
            self._incoming.pop(lane, None)

    def end(self, reason: Exception) -> None:
        """The session is over: what is not acknowledged is lost."""
        lost = [item.tag for _, item in self._session.end() if isinstance(item.tag, Receipt)]
        self.sent.lose(lost, reason)
        self._incoming.clear()

    def _add_news(self, news: News) -> None:
        try:
            self._session.add(NEWS, Item(encode_news(news), NO_BULK, 0, news))
        except Overloaded:
            return  # when the peer has acknowledged some
        self.taken.sent(news)

    def _told(self) -> Told:
        received = self._session.received
        if received is not self._told_received or self.taken.changed or self.consumed != self._last_told[-1]:
            self._told_received = received
            self.taken.changed = False
            self._last_told = self._totals()
        return self._last_told

    def _totals(self) -> Told:
        received = self._session.received
        return (*received, *self.taken.applied(received), self.consumed)

    # Receiving ---------------------------------------------------------------------------------------

    def take(self, data: memoryview) -> Came | Goodbye | None:
        """Take a frame; return what it completes.

        Raises:
            RemoteProtocolError: The peer breaks the protocol; the message says how.
            TensorStoreFull: There is no room for its model.
        """
        frame = decode_frame(data)
        kind, number = frame.kind, frame.number
        if frame.told != self._last_heard:
            self._hear(frame.told)
        if kind == TOLD:
            return None
        if kind == BEAT:
            self.urgent = True
            return None
        if kind == GOODBYE:
            return Goodbye(bytes(frame.payload).decode(errors="replace"))
        lane = LANES[frame.lane]
        if not self._session.expects(lane, number):
            self.urgent = True  # it came before: the peer does not know
            return None
        if lane is NEWS:
            self._take_news(frame)
            return None
        arrived = self._begin(lane, frame.payload) if kind == HEAD else self._go_on(lane, frame)
        if arrived is None:
            return None
        self._session.complete(lane)
        return Came(lane, number, arrived)

    def _take_news(self, frame: Frame) -> None:
        if frame.kind == CHUNK:
            raise RemoteProtocolError("news came in chunks")
        self.sent.heard(decode_news(frame.payload))
        self._session.complete(NEWS)
        self.room = self.urgent = True  # a failure holds totals back until its news are acknowledged

    def _begin(self, lane: Lane, head: memoryview) -> Arrived | None:
        if lane in self._incoming:
            raise RemoteProtocolError("a head came in the middle of a bulk")
        begun = heads.decode(head, self._store)
        if type(begun) is Arrived:
            return begun
        assert isinstance(begun, Assembly)
        self._incoming[lane] = begun
        self._progressed(lane, begun)
        return None

    def _go_on(self, lane: Lane, chunk: Frame) -> Arrived | None:
        assembly = self._incoming.get(lane)
        if assembly is None:
            raise RemoteProtocolError("a chunk came without a head")
        arrived = assembly.feed(chunk.offset, chunk.payload)
        if arrived is None:
            self._progressed(lane, assembly)
        else:
            del self._incoming[lane]
        return arrived

    def _progressed(self, lane: Lane, assembly: Assembly) -> None:
        if lane is BUSINESS:
            self._session.progressed(assembly.received)

    def _hear(self, told: Told) -> None:
        control, news, business, applied_control, applied_business, consumed = told
        done = self._session.acknowledge((control, news, business))
        self._acknowledged(done, applied_control, applied_business)
        if self.sent.consumed(consumed) or done:
            self.room = True
        self._last_heard = told

    def _acknowledged(self, done: Sequence[Done], control: int, business: int) -> None:
        for lane, item in done:
            tag = item.tag
            if isinstance(tag, Receipt):
                self.sent.take(lane, tag, control if lane is CONTROL else business)
            else:
                self.taken.told(tag)
        self.sent.applied(control, business)
