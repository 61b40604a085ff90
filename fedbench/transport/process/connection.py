"""ProcessConnection: one end of a pair of queues between two processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING, ClassVar

from fedbench.codec import envelope as envelopes
from fedbench.codec.envelope import KINDS
from fedbench.codec.frames import GOODBYE, MESSAGE, FrameReader
from fedbench.errors import (
    ConnectionBroken,
    ConnectionClosed,
    Overloaded,
    PeerLost,
    RemoteProtocolError,
)
from fedbench.messages import (
    DATA,
    RPC_REQUEST,
    RPC_RESPONSE,
    Channel,
    Kind,
    Message,
    weight_bytes,
)
from fedbench.tensors.borrowed import Borrowed
from fedbench.transport.connection import Connection, closing
from fedbench.transport.process.acks import Notes, Outstanding, Taken, decode_notes
from fedbench.transport.process.delivery import TakenMessage
from fedbench.transport.process.packing import pack, take_back, unpack
from fedbench.transport.process.writer import Writer
from fedbench.transport.receipt import IN_FLIGHT, Outcome, Receipt

if TYPE_CHECKING:
    from fedbench.codec.envelope import Envelope
    from fedbench.tensors.shared import SharedStore
    from fedbench.transport.inbox import Limits
    from fedbench.transport.process.peer import Peer

log = logging.getLogger("fedbench.transport")

READ_BYTES = 1 << 16
MAX_LAST_READS = (1 << 20) // READ_BYTES + 1
STALLED_NS = 1_000_000_000
"""A peer that has not taken a model for this long is lent no other."""
LAZY_S, BUSY_S = 0.1, 0.2
"""How long the news that a call was taken, or that a model is not read any more, waits for company."""

_BOUNDED = (Kind.MODEL_PUSH, Kind.CLIENT_NOTIFY)


class ProcessConnection(Connection):
    """One end of two queues, one a direction, each with one writer and one reader.

    A message is encoded and written inside ``send``, in one write that the kernel takes whole; if the pipe is
    full it waits here, and control messages overtake business messages. What does not fit into a frame, and
    every model, is lent from this process's store. Nothing waits for a lock or looks twice: the loop sleeps
    until the peer's queue has something, this one has room, or the peer's process has died.

    Args:
        local_id: Node at this end.
        peer_id: Node at the other end.
        epoch: How often this pair has been connected.
        limits: Bounds of what waits.
        peer: The other process, and the queues.
        store: Where models are lent from, and where drafts of received models lie.
    """

    lossless: ClassVar[bool] = True
    reports_death: ClassVar[bool] = True

    def __init__(  # the two ends, and what the transport made for them
        self, local_id: str, peer_id: str, epoch: int, limits: Limits, peer: Peer, store: SharedStore
    ) -> None:
        super().__init__(local_id, peer_id, epoch, limits)
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._store = store
        self._reader = FrameReader()
        self._taken = Taken()
        self._borrowed = Borrowed(
            peer.pid, store, functools.partial(_released, self._taken, weakref.ref(self))
        )
        self._outstanding = Outstanding(peer_id)
        self._writer = Writer(
            peer.write_fd, self.limits, self._taken, self._outstanding, self._wake_room, self._gone
        )
        self._flushing = False
        self._urgent = False
        self._lazy: asyncio.TimerHandle | None = None
        self._lazy_told = 0
        self._room: list[asyncio.Future[None]] = []
        self._oldest_lent: Receipt | None = None  # of what is not taken, or of what was the last to be
        self._oldest_lent_ns = 0
        self._last_lent: Receipt | None = None
        peer.on_death = self._gone

    # Owner's side ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read; what the peer sent before waits in its queue."""
        if self._closed is not None:
            return
        inbox = self.inbox
        if inbox is not None:
            inbox.on_taken = self._consumed
            if len(inbox):
                self._taken.consume(-len(inbox))
                self._flush_later()
        self._loop.add_reader(self._peer.read_fd, self._readable)

    async def writable(self) -> None:
        """Wait until ``DATA`` can be sent: the peer has received some, and the pipe has taken some."""
        while self._closed is None and (self._data_full() or self._writer.full):
            future: asyncio.Future[None] = self._loop.create_future()
            self._room.append(future)
            try:
                await future
            finally:
                if future in self._room:
                    self._room.remove(future)

    def untaken(self) -> Receipt | None:
        """Return the receipt of the last message in shared memory if the peer has not taken it yet."""
        last = self._last_lent
        return last if last is not None and last.outcome is IN_FLIGHT else None

    def abort(self, reason: str = "its node ended without closing") -> None:
        """End this side as a crash would: the peer sees :class:`PeerLost`."""
        error = ConnectionClosed(f"{self.local_id} is gone: {reason}")
        if self._mark(error):
            self._release_resources(error)
            self._tell()

    # Sending -----------------------------------------------------------------------------------------

    def _write(self, message: Message) -> Receipt:
        kind = message.kind
        call = kind is RPC_REQUEST or kind is RPC_RESPONSE
        if not call:
            self._check_bounds(message)
        if self._writer.blocked and self._writer.full:
            raise Overloaded(f"{self._writer} wait for {self.peer_id} to read: let it catch up first")
        oldest = self._oldest_lent
        if oldest is not None and oldest.outcome is not IN_FLIGHT:
            oldest = None
        if oldest is not None and message.tensors is not None:
            self._check_standstill()
        payload, handles = pack(message, self._store, self)
        receipt = Receipt(self.ledger)
        if handles:
            self._last_lent = receipt
            if oldest is None:
                self._oldest_lent, self._oldest_lent_ns = receipt, time.monotonic_ns()
        nbytes = len(payload) if call else self._weigh(message, receipt)
        self._writer.send(kind.channel, payload, receipt, handles, nbytes)
        return receipt

    def _check_bounds(self, message: Message) -> None:
        """Refuse what the peer's handlers or receivers have no room for."""
        self._check_running(message)
        if message.kind is DATA and self._data_full():
            raise Overloaded(f"nobody at {self.peer_id} receives from {self.local_id}: its queue is full")

    def _weigh(self, message: Message, receipt: Receipt) -> int:
        """Return what a message that is no call weighs, and count it where that is bounded."""
        nbytes = weight_bytes(message)
        if message.kind in _BOUNDED:
            receipt.begin(nbytes)
        elif message.kind is DATA:
            self._outstanding.add_data(nbytes)
        return nbytes

    def _check_standstill(self) -> None:
        """Refuse to lend one more model to a peer that takes none: it would keep a slot for each round."""
        if time.monotonic_ns() - self._oldest_lent_ns > STALLED_NS:
            raise Overloaded(f"{self.peer_id} has not taken the last model yet: it is stopped or too busy")

    def _data_full(self) -> bool:
        messages, nbytes = self._outstanding.data
        return messages >= self.limits.messages or nbytes >= self.limits.nbytes

    def _wake_room(self) -> None:
        for future in self._room:
            if not future.done():
                future.set_result(None)
        self._room.clear()

    # Receiving ---------------------------------------------------------------------------------------

    def _readable(self) -> bool:
        """Take what has come; False if there was nothing."""
        try:
            data = os.read(self._peer.read_fd, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._hung_up()
            return False
        try:
            self._take(data)
        except RemoteProtocolError as error:
            self._refuse(error)
        if self._closed is None and (self._urgent or self._lazy is None) and self._taken.pending:
            if self._urgent:
                self._flush_later()
            else:
                self._flush_lazily()
        return True

    def _take(self, data: bytes) -> None:
        """Hand over the messages that are complete, control messages first, and count them in order."""
        messages, goodbye = self._unpack(data)
        overtaking = self._take_control(messages) if len(messages) > 1 else {}
        calls = False
        for place, envelope in enumerate(messages):
            if self._closed is not None:
                break
            owner = self.owners.get(KINDS[envelope.kind])
            if owner is not None:
                calls = True
                self._taken.count += 1
                message = unpack(envelope, self, self._borrowed)
                self.received[message.kind] += 1
                try:
                    owner(message)
                except (Exception, asyncio.CancelledError) as error:
                    self._warn_not_taken(message, error)
            else:
                (overtaking.get(place) or self._deliver(envelope)).taken()
        if messages and not calls:
            self._urgent = True  # else the answer, or the next call, tells what was taken
        if goodbye is not None:
            self._end(ConnectionBroken(closing(self.peer_id, self.local_id, goodbye), goodbye))

    def _unpack(self, data: bytes) -> tuple[list[Envelope], str | None]:
        """Return the messages that are complete and the peer's last word; take what is told beside them."""
        messages: list[Envelope] = []
        for frame in self._reader.feed(data):
            if frame.notes:
                self._noted(frame.acknowledged, decode_notes(frame.notes))
            else:
                self._outstanding.acknowledge(frame.acknowledged)
            if frame.released:
                self._store.release(self, (frame.released,))
            if frame.kind == MESSAGE:
                messages.append(envelopes.decode(frame.payload))
            elif frame.kind == GOODBYE:
                return messages, frame.payload.decode(errors="replace")
        return messages, None

    def _take_control(self, messages: list[Envelope]) -> dict[int, TakenMessage]:
        """Hand over the control messages; return their deliveries by place."""
        taken = {}
        for place, envelope in enumerate(messages):
            if KINDS[envelope.kind].channel is Channel.CONTROL and self._closed is None:
                taken[place] = self._deliver(envelope)
        return taken

    def _deliver(self, envelope: Envelope) -> TakenMessage:
        delivery = TakenMessage(self.local_id, self._taken, self._finished)
        self._hand_over(unpack(envelope, self, self._borrowed), delivery)
        return delivery

    def _noted(self, acknowledged: int, notes: Notes) -> None:
        self._outstanding.acknowledge(acknowledged, notes)
        if notes.released:
            self._store.release(self, notes.released)
        if notes.consumed:
            self._wake_room()

    def _consumed(self) -> None:
        self._taken.consume()
        self._flush_later()

    def _finished(self) -> None:
        if self._closed is None:
            self._flush_later()

    def _flush_later(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush_lazily(self) -> None:
        """What nobody waits for rides on the next message: waking the peer for it costs too much."""
        if self._lazy is None and self._closed is None:
            self._lazy_told = self._taken.told
            self._lazy = self._loop.call_later(LAZY_S, self._flush_if_idle)

    def _flush_if_idle(self) -> None:
        """Tell what is left, unless frames went out meanwhile: then another will soon."""
        self._lazy = None
        if self._taken.told == self._lazy_told:
            self._flush()
        elif self._taken.pending:
            self._lazy_told = self._taken.told
            self._lazy = self._loop.call_later(BUSY_S, self._flush_if_idle)

    def _flush(self) -> None:
        """Tell the peer what no message has told it meanwhile."""
        self._flushing = self._urgent = False
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        if self._closed is None:
            self._writer.flush()

    # Ending ------------------------------------------------------------------------------------------

    def _shut(self, why: str) -> None:
        self._writer.say_goodbye(why)
        assert self._closed is not None
        self._release_resources(self._closed)

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The peer broke the protocol: nothing it says can be trusted any more."""
        log.warning("%s closes its connection to %s: %s", self.local_id, self.peer_id, error)
        self._writer.say_goodbye(str(error))
        self._end(ConnectionBroken(f"{self.peer_id} broke the protocol: {error}", str(error)))

    def _hung_up(self) -> None:
        self._end(PeerLost(self.peer_id, f"its process {self._peer.pid} ended without closing"))

    def _gone(self) -> None:
        """The peer has died, or reads no more: take what it wrote before, then end."""
        for _ in range(MAX_LAST_READS):  # one that lives on may write for ever
            if self._closed is not None or not self._readable():
                break
        self._hung_up()

    def _end(self, reason: ConnectionBroken) -> None:
        if self._mark(reason):
            self._release_resources(reason)
            self._tell()

    def _release_resources(self, reason: Exception) -> None:
        self._loop.remove_reader(self._peer.read_fd)
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        for waiting in self._writer.close():
            waiting.receipt.end(Outcome.LOST, reason)
            take_back(waiting.handles, self._store, self)
        self._outstanding.lose(reason)
        if self.inbox is not None:
            self.inbox.on_taken = None
        self._borrowed.close()
        self._peer.close(self, self._store)
        self._wake_room()


def _released(taken: Taken, connection: weakref.ref[ProcessConnection], leases: list[int]) -> None:
    """The last view of a slot is gone; from any thread, and from the garbage collector."""
    taken.release(leases)
    there = connection()
    if there is not None and there._lazy is None and there._closed is None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it all connections
            there._loop.call_soon_threadsafe(there._flush_lazily)
