"""Guest: a client that speaks plain HTTP, seen from the server's process.

The server has a connection to it like to any other; its other end lies here, and requests move it. What the
layers above see is a client that registers, calls and is pushed to.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.errors import ConnectionClosed, Overloaded
from fedbench.messages import Kind, Message

if TYPE_CHECKING:
    from fedbench.clock import Clock, Timer
    from fedbench.codec.wire import Parts
    from fedbench.tensors.model import ModelState
    from fedbench.transport.network.connection import NetworkConnection
    from fedbench.transport.receipt import Delivery

MAX_EVENTS = 256
MAX_MODELS = 2
_EVENTS = (Kind.CLIENT_NOTIFY, Kind.MODEL_PUSH, Kind.DATA)


class LoopLink:
    """A link between two connections of one process: no socket, one pass of the loop a turn.

    Args:
        owner: The connection at this end.
        clock: Time.
    """

    def __init__(self, owner: NetworkConnection, clock: Clock) -> None:
        self.heard_ns = clock.now_ns()
        self._owner = owner
        self._clock = clock
        self._other: LoopLink | None = None
        self._woken = False

    @staticmethod
    def join(one: NetworkConnection, other: NetworkConnection, clock: Clock) -> None:
        """Attach two connections to each other."""
        left, right = LoopLink(one, clock), LoopLink(other, clock)
        left._other, right._other = right, left
        one.attach(left)  # neither end beats: a link that lies in one process cannot fall silent
        other.attach(right)

    def wake(self) -> None:
        """There is something to be sent."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._carry)

    flush = wake

    def finish(self, last: list[Parts]) -> None:
        """Bring the last frames to the other end."""
        asyncio.get_running_loop().call_soon(self._bring, last)

    def abort(self) -> None:
        """Nothing comes back over it: both ends are lost to each other."""
        if self._other is not None:
            self._other._owner.lose("its other end was cut")

    def _carry(self) -> None:
        self._woken = False
        while not self._owner.closed and (frame := self._owner.next_frame()) is not None:
            self._bring([frame])

    def _bring(self, frames: list[Parts]) -> None:
        other = self._other
        assert other is not None
        for frame in frames:
            other.heard_ns = self._clock.now_ns()
            other._owner.frame_came(other, memoryview(b"".join(frame)))


class Event(NamedTuple):
    """What a guest is to be told: plain data."""

    name: str
    data: Any


class Guest:
    """What lies at a guest's end of its connection.

    A guest from which nothing was heard for the window is gone. What its stream of events has taken and a cut
    of that stream loses, is lost: it has no session.

    Args:
        connection: Its end.
        clock: Time.
        window_s: The window, in seconds.

    Attributes:
        connection: As given.
        models: The newest models it was sent, by version.
    """

    def __init__(self, connection: NetworkConnection, clock: Clock, window_s: float) -> None:
        self.connection = connection
        self.models: OrderedDict[int, ModelState] = OrderedDict()
        self._clock = clock
        self._window_s = window_s
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._timer: Timer | None = None
        connection.receiver = self._receive
        connection.on_closed(self._over)
        self.touch()

    def touch(self) -> None:
        """It was heard of."""
        self._stop_timer()
        if not self.connection.closed:
            self._timer = self._clock.call_later(self._window_s, self._silent)

    def send(self, kind: Kind, method: str = "", body: Any = None) -> None:
        """Send a message to the server.

        Raises:
            TransportError: As for :meth:`Connection.send`.
        """
        self.connection.send(self._message(kind, method, body, 0, 0))

    async def notify(self, method: str, body: Any) -> None:
        """Send a notification and wait until the server's handlers have returned.

        Raises:
            RemoteError: One of them raised.
            TransportError: As for :meth:`Connection.send`.
        """
        await self.connection.send(self._message(Kind.CLIENT_NOTIFY, method, body, 0, 0)).applied

    async def ask(self, kind: Kind, method: str, body: Any, deadline_s: float) -> Message:
        """Send a request and return what answers it.

        Raises:
            TimeoutError: Nothing did in time.
            TransportError: As for :meth:`Connection.send`, or the connection ended first.
        """
        number = next(self._numbers) if kind is Kind.RPC_REQUEST else 0
        deadline_ns = time.monotonic_ns() + round(deadline_s * 1e9)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            self.connection.send(self._message(kind, method, body, number, deadline_ns if number else 0))
            async with asyncio.timeout(deadline_s):
                return await future
        finally:
            self._answers.pop(number, None)

    async def next_event(self) -> Event | None:
        """Return what it is to be told next, None if the connection is over."""
        return await self._events.get()

    def _message(self, kind: Kind, method: str, body: Any, number: int, deadline_ns: int) -> Message:
        ends = self.connection.local_id, self.connection.peer_id
        return Message(kind, *ends, method, body, None, number, deadline_ns, sent_ns=time.monotonic_ns())

    def _receive(self, message: Message, delivery: Delivery) -> None:
        kind = message.kind
        if message.tensors is not None:
            self._keep(message.tensors)
        if kind in (Kind.RPC_RESPONSE, Kind.REGISTERED):
            future = self._answers.get(message.correlation_id)
            if future is not None and not future.done():
                future.set_result(message)
        elif kind is Kind.RPC_REQUEST:
            self._refuse(message)
        elif kind in _EVENTS:
            self._tell(message)
        delivery.apply()

    def _keep(self, model: ModelState) -> None:
        self.models[model.version] = model
        while len(self.models) > MAX_MODELS:
            self.models.popitem(last=False)

    def _tell(self, message: Message) -> None:
        if self._events.qsize() >= MAX_EVENTS:
            raise Overloaded(f"{message.target} does not read its events: {MAX_EVENTS} wait")
        told: dict[str, Any] = {"data": message.body}
        if message.tensors is not None:
            told = {"version": message.tensors.version, "model": f"/models/{message.tensors.version}"}
        self._events.put_nowait(Event(message.method or message.kind.value, told))

    def _refuse(self, request: Message) -> None:
        error = {"type": "LocalProtocolError", "message": "it speaks plain HTTP", "traceback": ""}
        answer = self._message(Kind.RPC_RESPONSE, "error", error, request.correlation_id, 0)
        self.connection.send(answer)

    def _silent(self) -> None:
        self._timer = None
        self.connection.close()

    def _over(self, connection: object, reason: Exception) -> None:
        self._stop_timer()
        self._events.put_nowait(None)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionClosed(f"the connection is over: {reason}"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
