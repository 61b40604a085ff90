"""RpcEndpoint: a node's open calls. All proxies of the node share it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fedbench.clock import Clock, LoopClock
from fedbench.errors import (
    ConnectionClosed,
    DeadlineExceeded,
    PeerLost,
    RemoteError,
    RoutingError,
    TransportError,
)
from fedbench.messages import RPC_REQUEST, Kind, Message
from fedbench.rpc.correlation import OpenCalls
from fedbench.rpc.deadlines import DeadlineTimer

if TYPE_CHECKING:
    from fedbench.connection.communication import CommunicationManager
    from fedbench.tensors.model import ModelState

MANY_CALLS = 1024
ERROR = "error"
"""Method name of a response that carries an error."""


class RpcEndpoint:
    """Sends requests and matches the responses.

    Args:
        comm: The node's communication.
        clock: Time; tests hand in their own.
    """

    def __init__(self, comm: CommunicationManager, clock: Clock | None = None) -> None:
        self.comm = comm
        self.clock = clock or LoopClock()
        self._deadlines = DeadlineTimer(self.clock, self._expire)
        self._now_ns = self.clock.now_ns
        self._send = comm.connections.router.send
        self._node_id = comm.node_id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: OpenCalls[_Call] = OpenCalls()
        comm.connections.own(Kind.RPC_RESPONSE, self)
        comm.register_message_handler(Kind.RPC_REQUEST, self._refuse)
        comm.control.monitor.on_disconnect(self._on_lost)

    @classmethod
    def of(cls, comm: CommunicationManager) -> RpcEndpoint:
        """Return the node's endpoint; make it if there is none yet."""
        owner = comm.connections.owner(Kind.RPC_RESPONSE)
        return owner if isinstance(owner, cls) else cls(comm)

    async def call(
        self,
        peer_id: str,
        method: str,
        body: Any = None,
        tensors: ModelState | None = None,
        deadline_s: float | None = None,
    ) -> Message:
        """Call ``method`` on ``peer_id`` and return the response; see :meth:`begin`."""
        future = self.begin(peer_id, method, body, tensors, deadline_s)
        try:
            message: Message = await future
            return message
        except asyncio.CancelledError:
            self._forget(future)
            raise
        finally:
            del future  # it holds the error that holds this frame, and so the model

    def begin(  # what a call is made of
        self,
        peer_id: str,
        method: str,
        body: Any,
        tensors: ModelState | None,
        deadline_s: float | None,
        read: Callable[[Message], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Call ``method`` on ``peer_id``; await the response, or what it holds.

        The request is sent, or refused, before this returns. A call whose future is cancelled is forgotten
        when its answer comes, its deadline passes or its peer is lost, or many others have been made.

        Args:
            peer_id: Node at the other end of an open connection.
            method: Name of the method.
            body: Plain data.
            tensors: A model, or None.
            deadline_s: Seconds until the answer is worthless; it travels with the request. None or inf for
                never.
            read: What to make of the response, by default nothing; what it raises is raised when awaited.

        Raises:
            RemoteError: When awaited: the handler raised.
            DeadlineExceeded: When awaited: no answer came in time.
            PeerLost: When awaited, or at once: the peer went away before it answered, or was lost before and
                is not back.
            ConnectionClosed: When awaited, or at once: this node closed the connection before it answered.
            ValueError: ``deadline_s`` is negative or no number.
            RoutingError: There is no connection to it.
        """
        now_ns = self._now_ns()
        if deadline_s is None or deadline_s == math.inf:
            deadline_ns = 0
        elif deadline_s >= 0:
            deadline_ns = now_ns + int(deadline_s * 1e9)
        else:  # NaN is neither
            raise ValueError(f"deadline_s is {deadline_s}: it must be at least 0")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # asked once: it asks the kernel for the process
        future: asyncio.Future[Any] = loop.create_future()
        number = self._calls.open(peer_id, _Call(future, method, deadline_s, read), deadline_ns)
        if not number % MANY_CALLS:
            self._calls.forget(lambda call: call.future.done())
        if 0 < deadline_ns < self._deadlines.armed_ns:
            self._deadlines.watch(deadline_ns)
        message = Message(
            RPC_REQUEST, self._node_id, peer_id, method, body, tensors, number, deadline_ns, 1, 0, now_ns
        )
        try:
            self._send(message)
        except BaseException as error:
            self._calls.close(number)
            if isinstance(error, RoutingError):
                peer = self.comm.control.monitor.peers.get(peer_id)
                if peer is not None and isinstance(peer.error, PeerLost):  # it died a moment ago
                    raise PeerLost(peer_id, peer.error.reason) from None
            raise
        return future

    def _forget(self, future: asyncio.Future[Any]) -> None:
        self._calls.forget(lambda call: call.future is future)

    def close(self) -> None:
        """Stop the deadline timer."""
        self._deadlines.close()

    def __call__(self, message: Message) -> None:
        """Take a response."""
        call = self._calls.take(message.correlation_id, message.source)
        if call is None or call.future.done():
            return  # answered too late: the caller has been told DeadlineExceeded, or has gone
        if message.method == ERROR:
            told = message.body
            error = RemoteError(message.source, told["type"], told["message"], told["traceback"])
            call.future.set_exception(error)
        elif call.read is None:
            call.future.set_result(message)
        else:
            try:
                call.future.set_result(call.read(message))
            except Exception as error:
                call.future.set_exception(error)

    def _on_lost(self, peer_id: str) -> None:
        peer = self.comm.control.monitor.peers[peer_id]
        closed_here = isinstance(peer.error, ConnectionClosed)
        for call in self._calls.take_all(peer_id):
            _fail(call, ConnectionClosed(peer.reason) if closed_here else PeerLost(peer_id, peer.reason))

    def _refuse(self, request: Message) -> None:
        """Answer a call to a node that has nothing to answer it with: no stub owns its requests."""
        error = {
            "type": "LocalProtocolError",
            "message": f"{self._node_id} answers no calls",
            "traceback": "",
        }
        with contextlib.suppress(TransportError):  # then the caller knows that the connection is over
            self._send(
                Message(
                    Kind.RPC_RESPONSE,
                    self._node_id,
                    request.source,
                    ERROR,
                    error,
                    correlation_id=request.correlation_id,
                    sent_ns=self._now_ns(),
                )
            )

    def _expire(self, now_ns: int) -> int | None:
        for peer_id, call in self._calls.take_due(now_ns):
            _fail(
                call, DeadlineExceeded(f"{peer_id} did not answer {call.method} within {call.deadline_s} s")
            )
        return self._calls.next_deadline_ns()


class _Call(msgspec.Struct, eq=False):
    """An open call.

    Attributes:
        future: Who waits for it.
        method: What is called.
        deadline_s: Seconds until it is over, None for never.
        read: What is made of the response, None for nothing.
    """

    future: asyncio.Future[Any]
    method: str
    deadline_s: float | None
    read: Callable[[Message], Any] | None


def _fail(call: _Call, error: Exception) -> None:
    if not call.future.done():
        call.future.set_exception(error)
