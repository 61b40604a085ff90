"""RpcEndpoint: a node's open calls. All proxies of the node share it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

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
        self._calls: OpenCalls[asyncio.Future[Message]] = OpenCalls()
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
        """Call ``method`` on ``peer_id`` and return the response. Cancelling forgets the call.

        Args:
            peer_id: Node at the other end of an open connection.
            method: Name of the method.
            body: Plain data.
            tensors: A model, or None.
            deadline_s: Seconds until the answer is worthless; it travels with the request. None or inf for
                never.

        Raises:
            RemoteError: The handler raised.
            DeadlineExceeded: No answer came in time.
            PeerLost: The peer went away before it answered, or was lost before and is not back.
            ConnectionClosed: This node closed the connection before it answered.
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
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        correlation_id = self._calls.open(peer_id, future, deadline_ns)
        if 0 < deadline_ns < self._deadlines.armed_ns:
            self._deadlines.watch(deadline_ns)
        try:
            self._send(
                Message(
                    RPC_REQUEST,
                    self._node_id,
                    peer_id,
                    method,
                    body,
                    tensors,
                    correlation_id,
                    deadline_ns,
                    1,
                    0,
                    now_ns,
                )
            )
            return await future
        except RoutingError:
            peer = self.comm.control.monitor.peers.get(peer_id)
            if peer is not None and isinstance(peer.error, PeerLost):  # it died a moment ago
                raise PeerLost(peer_id, peer.error.reason) from None
            raise
        except _Expired:
            raise DeadlineExceeded(f"{peer_id} did not answer {method} within {deadline_s} s") from None
        finally:
            self._calls.close(correlation_id)
            del future  # it holds the error that holds this frame, and so the model

    def close(self) -> None:
        """Stop the deadline timer."""
        self._deadlines.close()

    def __call__(self, message: Message) -> None:
        """Take a response."""
        future = self._calls.match(message.correlation_id, message.source)
        if future is None or future.done():
            return  # answered too late: the caller has been told DeadlineExceeded, or has gone
        if message.method != ERROR:
            future.set_result(message)
            return
        error = message.body
        _fail(future, RemoteError(message.source, error["type"], error["message"], error["traceback"]))

    def _on_lost(self, peer_id: str) -> None:
        peer = self.comm.control.monitor.peers[peer_id]
        closed_here = isinstance(peer.error, ConnectionClosed)
        for future in self._calls.waiting_for(peer_id):
            _fail(future, ConnectionClosed(peer.reason) if closed_here else PeerLost(peer_id, peer.reason))

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
        for future in self._calls.due(now_ns):
            _fail(future, _Expired())
        return self._calls.next_deadline_ns(now_ns)


class _Expired(Exception):
    """Wakes a caller whose deadline has passed; it knows best what it asked whom."""


def _fail(future: asyncio.Future[Message], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
