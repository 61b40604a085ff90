"""NetworkConnection: one end of a session between two machines, over whatever link carries it now."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from fedbench.errors import (
    ConnectionBroken,
    ConnectionClosed,
    Overloaded,
    PeerLost,
    RemoteProtocolError,
    TensorStoreFull,
)
from fedbench.messages import DATA, Channel, Kind, Message
from fedbench.transport.connection import Connection, closing
from fedbench.transport.network.exchange import Came, Exchange, Goodbye
from fedbench.transport.network.reports import TakenMessage
from fedbench.transport.network.session import Item, Lane, Position
from fedbench.transport.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.clock import Clock, Timer
    from fedbench.tensors.store import TensorStore
    from fedbench.throttle import Throttle
    from fedbench.transport.inbox import Limits
    from fedbench.transport.network.encoding import Encoder
    from fedbench.transport.network.link import Carrier
    from fedbench.transport.network.liveness import Lazily, Liveness

log = logging.getLogger("fedbench.transport")

MAX_LAST_BYTES = 1 << 20
"""What a connection that closes still sends of what waits."""
PROMPT_BYTES = 64 << 10
"""A message of this size is acknowledged at once: its sender keeps it until then."""

LEEWAY = 4
"""Times its own bound of running handlers that a peer, whose bound may be another, is allowed."""

CONTROL = Channel.CONTROL
CONTROL_LANE, BUSINESS_LANE = Lane.CONTROL, Lane.BUSINESS
_BOUNDED = (Kind.MODEL_PUSH, Kind.CLIENT_NOTIFY)


class Host(NamedTuple):
    """What the connections of a transport share.

    Attributes:
        clock: Time.
        store: Where received models come to lie.
        lazily: Does what nobody waits for.
        encoder: Encodes what they send.
        throttle: Logs what a peer can cause.
    """

    clock: Clock
    store: TensorStore
    lazily: Lazily
    encoder: Encoder
    throttle: Throttle


class Meeting(NamedTuple):
    """What both ends have agreed on.

    Attributes:
        epoch: Epoch of the session.
        secret: Who knows it may go on with the session.
        shift_ns: Added to the peer's times to have this node's.
        heartbeat_s: The server's heartbeat, in seconds.
        resume_window_s: How long the session outlives its link, in seconds; the server says it, too.
    """

    epoch: int
    secret: bytes
    shift_ns: int
    heartbeat_s: float
    resume_window_s: float


class NetworkConnection(Connection):
    """One end of a session.

    A message is encoded in ``send`` and kept until the peer has acknowledged it. Links come and go
    (:meth:`attach`, :meth:`detach`); a connection that stays without one for the resume window is over, and
    the peer counts as lost.

    Args:
        local_id: Node at this end.
        peer_id: Node at the other end.
        limits: Bounds of what waits.
        meeting: What both ends have agreed on.
        host: What the connections of the transport share.

    Attributes:
        secret: Who knows it may go on with the session.
        heartbeat_s: The server's heartbeat, in seconds.
        on_start: Called when the owner has claimed the connection, None for nothing.
        next_frame: Returns what is to be sent next, None if there is nothing.
    """

    lossless: ClassVar[bool] = True  # the session sends again what a link has lost
    reports_death: ClassVar[bool] = False

    def __init__(self, local_id: str, peer_id: str, limits: Limits, meeting: Meeting, host: Host) -> None:
        super().__init__(local_id, peer_id, meeting.epoch, limits)
        self.secret = meeting.secret
        self.heartbeat_s = meeting.heartbeat_s
        self.on_start: Callable[[], None] | None = None
        self._shift_ns = meeting.shift_ns
        self._window_s = meeting.resume_window_s
        self._host = host
        self._exchange = Exchange(peer_id, meeting.epoch, self.limits, host.store)
        self.next_frame = self._exchange.next_frame
        self._link: Carrier | None = None
        self._liveness: Liveness | None = None
        self._quiet_ns = self._speak_ns = math.inf
        self._handing_over: Came | None = None
        self._tickets = 0
        self._window: Timer | None = None
        self._room: list[asyncio.Future[None]] = []

    # Owner's side ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take what the peer sends."""
        inbox = self.inbox
        if inbox is not None and self._closed is None:
            inbox.on_taken = self._was_consumed
            self._exchange.consumed = -len(inbox)
        if self.on_start is not None:
            self.on_start()

    async def writable(self) -> None:
        """Wait until ``DATA`` can be sent: the peer has received some, and acknowledged some."""
        while self._closed is None and (self._data_full() or self._exchange.full):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(future)
            try:
                await future
            finally:
                if future in self._room:
                    self._room.remove(future)

    def abort(self, reason: str = "its node ended without closing") -> None:
        """End this side as a crash would: the peer sees :class:`PeerLost` when the window is over."""
        self._cut(ConnectionClosed(f"{self.local_id} is gone: {reason}"))

    def lose(self, reason: str) -> None:
        """The peer is known to be gone: end this side at once."""
        self._cut(PeerLost(self.peer_id, reason))

    # Links -------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """What this end has received, to be told to the peer when a link begins."""
        return self._exchange.position

    @property
    def link(self) -> Carrier | None:
        """What carries it now, if anything does."""
        return self._link

    @property
    def linked(self) -> bool:
        """Whether anything carries it now."""
        return self._link is not None

    def resume(self, position: Position) -> int:
        """The peer has this position; what it has not received is sent again over the next link.

        Returns:
            A ticket for that link, see :meth:`awaits`.

        Raises:
            RemoteProtocolError: It cannot be: the session is lost.
        """
        self.detach()
        self._exchange.resume(position)
        self._tickets += 1
        return self._tickets

    def awaits(self, ticket: int) -> bool:
        """Whether the link of that ticket is still waited for: no later one was begun, and it is not over."""
        return ticket == self._tickets and self._closed is None

    def attach(self, link: Carrier, liveness: Liveness | None = None) -> None:
        """Go on over ``link``. What waits, and what is to be told, is sent at once.

        Args:
            link: The link.
            liveness: What watches it, None if it cannot fall silent.
        """
        self._forget_window()
        self._link, self._liveness = link, liveness
        self._exchange.urgent = True
        if liveness is not None:
            liveness.add(link, self)
            self._quiet_ns = liveness.quiet_share * self.heartbeat_s * 1e9
            self._speak_ns = link.heard_ns + self._quiet_ns
        link.wake()

    def beat(self) -> None:
        """Ask the peer for a sign of life."""
        self._exchange.ask = True
        if self._link is not None:
            self._link.wake()

    def detach(self, link: Carrier | None = None) -> None:
        """The link (None for whichever there is) is over; the session goes on until its window is over."""
        if self._link is None or (link is not None and link is not self._link):
            return
        self._link.abort()
        self._forget_link()
        if self._closed is None:
            log.info("%s has no link to %s any more", self.local_id, self.peer_id)
            self._window = self._host.clock.call_later(self._window_s, self._window_over)

    def frame_came(self, link: Carrier, data: memoryview) -> None:
        """Take a frame; a peer that breaks the protocol is cut off."""
        if link is not self._link:
            return
        exchange = self._exchange
        try:
            came = exchange.take(data)
        except (RemoteProtocolError, TensorStoreFull) as error:
            self._refuse(error)
            return
        if exchange.room:
            exchange.room = False
            if self._room:
                self._wake_room()
        if link.heard_ns >= self._speak_ns:
            self._speak_ns = link.heard_ns + self._quiet_ns
            exchange.urgent = True
        if exchange.urgent:
            self._tell_soon()
        if type(came) is Came:
            self._deliver(came)
        elif type(came) is Goodbye:
            self._end(ConnectionBroken(closing(self.peer_id, self.local_id, came.reason), came.reason))

    def frame_refused(self, link: Carrier, reason: str) -> None:
        """What came is no frame at all: the peer is cut off."""
        if link is self._link:
            self._refuse(RemoteProtocolError(reason))

    # Sending -----------------------------------------------------------------------------------------

    def _write(self, message: Message) -> Receipt:
        kind, exchange = message.kind, self._exchange
        bounded = kind in _BOUNDED
        if bounded:
            self._check_running(message)
        elif kind is DATA and self._data_full():
            raise Overloaded(f"nobody at {self.peer_id} receives from {self.local_id}: its queue is full")
        if exchange.full:
            raise Overloaded(f"{exchange} wait for {self.peer_id} to take them: let it catch up first")
        head, bulk, nbytes = self._host.encoder.encode(message)
        receipt = Receipt(self.ledger)
        if bounded:
            receipt.begin(nbytes)
        elif kind is DATA:
            exchange.sent.add_data(nbytes)
        lane = CONTROL_LANE if kind.channel is CONTROL else BUSINESS_LANE
        exchange.add(lane, Item(head, bulk, nbytes, receipt))
        link = self._link
        if link is not None:
            link.flush()
        return receipt

    def _data_full(self) -> bool:
        messages, nbytes = self._exchange.sent.data
        return messages >= self.limits.messages or nbytes >= self.limits.nbytes

    def _tell_soon(self) -> None:
        """Tell the peer what was taken and applied; one frame for all that happens in this pass."""
        self._exchange.urgent = True
        if self._link is not None:
            self._link.wake()

    def _tell_late(self) -> None:
        """Tell the peer what no message has told it meanwhile."""
        if self._exchange.pending:
            self._tell_soon()

    def _was_consumed(self) -> None:
        self._exchange.consumed += 1
        self._tell_soon()

    def _wake_room(self) -> None:
        for future in self._room:
            if not future.done():
                future.set_result(None)
        self._room.clear()

    # Receiving ---------------------------------------------------------------------------------------

    def _deliver(self, came: Came) -> None:
        arrived = came.arrived
        message = arrived.message(self.local_id, self.peer_id, self.epoch, self._shift_ns)
        owner = self.owners.get(message.kind)
        if owner is None:
            self._handing_over = came
            if self._exchange.taken.running >= LEEWAY * self.limits.messages:
                self._refuse(RemoteProtocolError("more was sent than handlers are allowed to work on"))
                return
            delivery = TakenMessage(self.local_id, self._exchange.taken, self._tell_soon)
            self._hand_over(message, delivery)
            self._handing_over = None
            if delivery.taken(came.lane, came.number):
                self._tell_soon()
            else:  # handlers that return in their first turn are told of in the same frame
                asyncio.get_running_loop().call_soon(self._tell_soon)
            return
        self.received[message.kind] += 1
        try:
            owner(message)
        except (Exception, asyncio.CancelledError) as error:
            self._warn_not_taken(message, error)
        if arrived.nbytes >= PROMPT_BYTES:
            self._tell_soon()
        else:
            self._host.lazily.add(self._tell_late)  # the answer, or the next call, tells it earlier

    def _warn_not_taken(self, message: Message, error: BaseException) -> None:
        kind = ("not taken", self.peer_id, message.kind)
        args = "%s could not take %s from %s", self.local_id, message.kind.value, self.peer_id
        self._host.throttle.warning(kind, *args, exc_info=error)

    # Ending ------------------------------------------------------------------------------------------

    def _shut(self, why: str) -> None:
        self._leave(why)

    def _refuse(self, error: Exception) -> None:
        """The peer broke the protocol: nothing it says can be trusted any more."""
        text = "%s closes its connection to %s: %s"
        self._host.throttle.warning(("refused", self.peer_id), text, self.local_id, self.peer_id, error)
        reason = ConnectionBroken(f"{self.peer_id} broke the protocol: {error}", str(error))
        if self._mark(reason):
            self._leave(str(error))
            self._tell()

    def _leave(self, why: str) -> None:
        """Let the link send the rest, and the last word."""
        assert self._closed is not None
        link, came = self._link, self._handing_over
        if came is not None:  # its handler closes the connection: nobody knows yet how it ends
            self._exchange.taken.take(came.lane, came.number, applied=False)
        last = [] if link is None else self._exchange.last_frames(why, MAX_LAST_BYTES)
        self._release(self._closed)
        if link is not None:
            link.finish(last)

    def _window_over(self) -> None:
        self._window = None
        self.lose(f"no link for {self._window_s:g} s")

    def _cut(self, reason: ConnectionBroken | ConnectionClosed) -> None:
        if self._mark(reason):
            link = self._link
            self._release(reason)
            if link is not None:
                link.abort()
            self._tell()

    def _end(self, reason: ConnectionBroken) -> None:
        if self._mark(reason):
            link = self._link
            self._release(reason)
            if link is not None:
                link.finish([])
            self._tell()

    def _release(self, reason: Exception) -> None:
        self._forget_window()
        self._forget_link()
        self._host.lazily.discard(self._tell_late)
        self._exchange.end(reason)
        if self.inbox is not None:
            self.inbox.on_taken = None
        self._wake_room()

    def _forget_link(self) -> None:
        if self._link is not None and self._liveness is not None:
            self._liveness.remove(self._link)
        self._link = self._liveness = None

    def _forget_window(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None
