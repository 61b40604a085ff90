"""Session: the numbered, acknowledged history of two nodes, which outlives the links between them. Pure.

Each end has one. What is sent is numbered in its lane and kept until the peer has acknowledged it. When a
link breaks and another takes its place, each end tells what it has received (:class:`Position`), and sending
goes on behind that: in the middle of an item's bulk, if the peer holds the part before. Whatever comes twice
is dropped by its number. So everything is handed over exactly once and in order, or the session ends, and
with it everything that was not acknowledged is lost.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

import msgspec

from fedbench.errors import Overloaded, RemoteProtocolError

T = TypeVar("T")


class Lane(IntEnum):
    """What is numbered on its own, in the order in which it is sent: the first goes before the others."""

    CONTROL = 0
    NEWS = 1
    BUSINESS = 2


LANES = tuple(Lane)
CONTROL, NEWS, BUSINESS = LANES  # reading a member off its enum costs as much as a function call on 3.11
Numbers = tuple[int, int, int]
"""One number a lane."""


class Bulk:
    """Pieces of memory that are sent as one. Nobody may change them until they are acknowledged.

    Args:
        parts: Where the bytes lie.

    Attributes:
        size: How many they are.
    """

    __slots__ = ("_parts", "size")

    def __init__(self, *parts: memoryview) -> None:
        self._parts = parts
        self.size = sum(map(len, parts))

    def chunk(self, offset: int, most_bytes: int) -> memoryview:
        """Return what begins at ``offset``, up to the end of the part that it lies in."""
        for part in self._parts:
            if offset < len(part):
                return part[offset : offset + most_bytes]
            offset -= len(part)
        raise IndexError(f"a bulk of {self.size} bytes ends {offset} bytes before that")


NO_BULK = Bulk()


class Item(msgspec.Struct, Generic[T], frozen=True):
    """What is sent.

    Attributes:
        head: Sent first, in one piece.
        bulk: Sent behind it, in chunks.
        nbytes: What it weighs.
        tag: Whatever the sender wants to have back when it is acknowledged or lost.
    """

    head: bytes
    bulk: Bulk
    nbytes: int
    tag: T


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What goes into one frame: the head of an item, or a chunk of its bulk.

    Attributes:
        lane: Its lane.
        number: Number of the item in its lane, from 1.
        offset: Start of the chunk in the bulk, in bytes; -1 for the head.
        data: The head or the chunk.
    """

    lane: Lane
    number: int
    offset: int
    data: bytes | memoryview


class Position(NamedTuple):
    """Where the receiving side of a session is.

    Attributes:
        received: How many items of each lane have been received in full.
        partial: Bytes that have come of the bulk of the next business item; -1 if its head has not come.
    """

    received: Numbers = (0, 0, 0)
    partial: int = -1


class _Sending(Generic[T]):
    """One lane on its way out."""

    def __init__(self) -> None:
        self.items: deque[Item[T]] = deque()  # those that are not acknowledged
        self.acknowledged = 0
        self.written = 0  # items that were taken in full
        self.offset = -1  # how far the item behind them is

    def take(self, lane: Lane, chunk_bytes: int) -> Piece:
        """Return what is next of those that were not taken in full; there is one."""
        item, offset, number = self.items[self.written - self.acknowledged], self.offset, self.written + 1
        bulk = item.bulk
        data: bytes | memoryview
        if offset < 0:
            end, data = 0, item.head
        else:
            data = bulk.chunk(offset, chunk_bytes)
            end = offset + len(data)
        if end < bulk.size:
            self.offset = end
        else:
            self.written, self.offset = number, -1
        return Piece(lane, number, offset, data)

    def rewind(self, partial: int) -> None:
        self.written, self.offset = self.acknowledged, -1
        if partial < 0:
            return
        if not self.items or partial >= self.items[0].bulk.size:
            raise RemoteProtocolError(f"{partial} bytes of a bulk are claimed that was not sent")
        self.offset = partial


class Session(Generic[T]):
    """One end of a session. It knows neither time nor links: its owner tells it.

    Args:
        epoch: How often the pair has had a session, from 1; the peer's must be the same.
        messages: Most control and business items that may wait for their acknowledgement.
        nbytes: Bytes at which no more are taken; an empty session takes an item of any size.
        chunk_bytes: Most bytes of a chunk.

    Attributes:
        received: How many items of each lane have been received in full.
        unwritten: Items that were not taken in full.
    """

    def __init__(self, epoch: int, *, messages: int, nbytes: int, chunk_bytes: int) -> None:
        self.epoch = epoch
        self.received: Numbers = (0, 0, 0)
        self._partial = -1
        self._messages = messages
        self._limit_bytes = nbytes
        self._chunk_bytes = chunk_bytes
        self._lanes: tuple[_Sending[T], ...] = tuple(_Sending() for _ in LANES)
        self._in_order = tuple(zip(LANES, self._lanes, strict=True))
        self._nbytes = 0
        self._waiting = 0  # control and business items that are not acknowledged
        self.unwritten = 0

    def __str__(self) -> str:
        return f"{self._waiting} messages ({self._nbytes} bytes)"

    # Sending -----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether :meth:`add` refuses control and business items."""
        return self._nbytes >= self._limit_bytes or self._waiting >= self._messages

    def add(self, lane: Lane, item: Item[T]) -> int:
        """Keep an item until it is acknowledged; return its number.

        Raises:
            Overloaded: As much as the bounds allow waits already. News have the bound in messages only, on
                their own: there is one for each message of the peer at most.
        """
        sending = self._lanes[lane]
        nbytes = item.nbytes
        if len(sending.items) >= self._messages if lane is NEWS else self.full:
            raise Overloaded(f"{self} wait for their acknowledgement")
        sending.items.append(item)
        self._nbytes += nbytes
        self.unwritten += 1
        self._waiting += lane is not NEWS
        return sending.acknowledged + len(sending.items)

    def take(self) -> Piece | None:
        """Return what is to be written next and count it as written; None if there is nothing.

        Heads of control items and news go first, so they overtake between the chunks of a bulk.
        """
        for lane, sending in self._in_order:
            written = sending.written
            if written - sending.acknowledged < len(sending.items):
                piece = sending.take(lane, self._chunk_bytes)
                self.unwritten -= sending.written - written
                return piece
        return None

    def acknowledge(self, received: Numbers) -> list[tuple[Lane, Item[T]]]:
        """Let go of what the peer has received; return it, lane by lane, in order.

        What was told before changes nothing.

        Raises:
            RemoteProtocolError: It claims what was not sent: the session is lost.
        """
        done: list[tuple[Lane, Item[T]]] = []
        for lane, sending in self._in_order:
            number = received[lane]
            if number == sending.acknowledged:
                continue
            if number > sending.written:
                raise RemoteProtocolError(
                    f"{number} {lane.name} items are acknowledged, {sending.written} were sent"
                )
            while sending.acknowledged < number:
                sending.acknowledged += 1
                item = sending.items.popleft()
                self._nbytes -= item.nbytes
                self._waiting -= lane is not NEWS
                done.append((lane, item))
        return done

    def resume(self, position: Position) -> list[tuple[Lane, Item[T]]]:
        """A new link is there: go on behind what the peer has received; return it as :meth:`acknowledge`.

        Raises:
            RemoteProtocolError: The position cannot be: the peer is in another session.
        """
        done = self.acknowledge(position.received)
        for lane, sending in self._in_order:
            sending.rewind(position.partial if lane is BUSINESS else -1)
        self.unwritten = sum(len(sending.items) for sending in self._lanes)
        return done

    def end(self) -> list[tuple[Lane, Item[T]]]:
        """The session is over: return everything that was not acknowledged, lane by lane, in order."""
        lost = [(lane, item) for lane in LANES for item in self._lanes[lane].items]
        for sending in self._lanes:
            sending.acknowledged += len(sending.items)
            sending.written = sending.acknowledged
            sending.items.clear()
        self._nbytes = self._waiting = self.unwritten = 0
        return lost

    # Receiving ---------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """What has been received."""
        return Position(self.received, self._partial)

    def expects(self, lane: Lane, number: int) -> bool:
        """Whether an item is the next of its lane; False if it came before and is to be dropped.

        Raises:
            RemoteProtocolError: Items before it are missing: no link loses anything in its middle.
        """
        received = self.received[lane]
        if number > received + 1:
            raise RemoteProtocolError(
                f"{lane.name} item {number} came, {received + 1} is the next: the link lost something"
            )
        return number == received + 1

    def complete(self, lane: Lane) -> None:
        """The next item of a lane has come in full."""
        control, news, business = self.received
        if lane is BUSINESS:
            self.received, self._partial = (control, news, business + 1), -1
        elif lane is NEWS:
            self.received = (control, news + 1, business)
        else:
            self.received = (control + 1, news, business)

    def progressed(self, partial: int) -> None:
        """So many bytes of the bulk of the next business item have come, behind its head."""
        self._partial = partial
