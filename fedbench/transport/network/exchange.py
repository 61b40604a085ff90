"""Exchange: the frames of a session, made and taken. Pure: it knows neither links nor time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fedbench.codec import wire
from fedbench.codec.heads import Assembly
from fedbench.codec.wire import CHUNK_BYTES, Told, decode_frame, encode_frame
from fedbench.errors import Overloaded, RemoteProtocolError
from fedbench.transport.network.reports import News, Sent, Taken, decode_news, encode_news
from fedbench.transport.network.session import LANES, NO_BULK, Item, Lane, Position, Session
from fedbench.transport.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench.codec.wire import Frame, Parts
    from fedbench.tensors.store import TensorStore
    from fedbench.transport.inbox import Limits

Done = tuple[Lane, Item[Receipt | News]]


class Came(NamedTuple):
    """A message that has come in full: its lane, its number in it, and the message itself."""

    lane: Lane
    number: int
    assembly: Assembly


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
        self._incoming: dict[Lane, Assembly] = {}
        self._last_told = Told()

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

    def add(self, lane: Lane, item: Item[Receipt | News]) -> None:
        """Have a message sent.

        Raises:
            Overloaded: As much as the bounds allow is not acknowledged yet.
        """
        self._session.add(lane, item)

    def next_frame(self) -> Parts | None:
        """Return what is to be sent next, None if there is nothing."""
        if self.ask:
            self.ask = self.urgent = False
            return encode_frame(wire.BEAT, self._told())
        if self.taken.has_news:
            self._add_news(self.taken.news())
        piece = self._session.take()
        if piece is None:
            if not self.urgent:
                return None
            self.urgent = False
            return encode_frame(wire.TOLD, self._told())
        self.urgent = False
        lane, number, offset, data = piece
        if offset < 0:
            return encode_frame(wire.HEAD, self._told(), data, lane=lane, number=number)
        return encode_frame(wire.CHUNK, self._told(), data, lane=lane, number=number, offset=offset)

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
        text = why.encode(errors="replace")[: wire.MAX_REASON_BYTES]
        return [*frames, encode_frame(wire.GOODBYE, self._told(), text)]

    def resume(self, position: Position) -> None:
        """A new link begins, and the peer has this position: send again what it has not received.

        Raises:
            RemoteProtocolError: It cannot be: the session is lost.
        """
        self._acknowledged(self._session.resume(position), 0, 0)
        for lane in (Lane.CONTROL, Lane.NEWS):
            self._incoming.pop(lane, None)

    def end(self, reason: Exception) -> None:
        """The session is over: what is not acknowledged is lost."""
        lost = [item.tag for _, item in self._session.end() if isinstance(item.tag, Receipt)]
        self.sent.lose(lost, reason)
        self._incoming.clear()

    def _add_news(self, news: News) -> None:
        try:
            self._session.add(Lane.NEWS, Item(encode_news(news), NO_BULK, 0, news))
        except Overloaded:
            return  # when the peer has acknowledged some
        self.taken.sent(news)

    def _told(self) -> Told:
        self._last_told = self._totals()
        return self._last_told

    def _totals(self) -> Told:
        received = self._session.position.received
        return Told(received, *self.taken.applied(received), self.consumed)

    # Receiving ---------------------------------------------------------------------------------------

    def take(self, data: bytes | memoryview) -> Came | Goodbye | None:
        """Take a frame; return what it completes.

        Raises:
            RemoteProtocolError: The peer breaks the protocol; the message says how.
            TensorStoreFull: There is no room for its model.
        """
        frame = decode_frame(data)
        self._hear(frame.told)
        if frame.kind == wire.GOODBYE:
            return Goodbye(bytes(frame.payload).decode(errors="replace"))
        if frame.kind == wire.TOLD:
            return None
        if frame.kind == wire.BEAT:
            self.urgent = True
            return None
        lane = LANES[frame.lane]
        if not self._session.expects(lane, frame.number):
            self.urgent = True  # it came before: the peer does not know
            return None
        if lane is Lane.NEWS:
            self._take_news(frame)
            return None
        assembly = self._assemble(lane, frame)
        if assembly.complete:
            self._incoming.pop(lane, None)
            self._session.received(lane)
            return Came(lane, frame.number, assembly)
        if lane is Lane.BUSINESS:
            self._session.progressed(assembly.received)
        return None

    def _take_news(self, frame: Frame) -> None:
        if frame.kind == wire.CHUNK:
            raise RemoteProtocolError("news came in chunks")
        self.sent.heard(decode_news(frame.payload))
        self._session.received(Lane.NEWS)
        self.room = self.urgent = True  # a failure holds totals back until its news are acknowledged

    def _assemble(self, lane: Lane, frame: Frame) -> Assembly:
        assembly = self._incoming.get(lane)
        if frame.kind == wire.HEAD:
            if assembly is not None:
                raise RemoteProtocolError("a head came in the middle of a bulk")
            assembly = Assembly(frame.payload, self._store)
            if not assembly.complete:
                self._incoming[lane] = assembly
        elif assembly is None:
            raise RemoteProtocolError("a chunk came without a head")
        else:
            assembly.feed(frame.offset, frame.payload)
        return assembly

    def _hear(self, told: Told) -> None:
        done = self._session.acknowledge(told.received)
        self._acknowledged(done, told.control, told.business)
        if self.sent.consumed(told.consumed) or done:
            self.room = True

    def _acknowledged(self, done: Sequence[Done], control: int, business: int) -> None:
        taken: list[tuple[Lane, Receipt]] = []
        for lane, item in done:
            if isinstance(item.tag, Receipt):
                taken.append((lane, item.tag))
            else:
                self.taken.told(item.tag)
        self.sent.told(taken, control, business)
