"""LearnerStub: answers the calls that arrive at a node, and hands it models and notifications."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from fedbench.errors import ConnectionClosed, LocalProtocolError, Overloaded, TransportError
from fedbench.messages import MODEL_PUSH, RPC_RESPONSE, Kind, Message
from fedbench.rpc.deadlines import DeadlineTimer
from fedbench.rpc.endpoint import ERROR, RpcEndpoint
from fedbench.rpc.outcomes import Outcomes
from fedbench.throttle import Throttle
from fedbench.values import is_pushed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from fedbench.connection.communication import CommunicationManager
    from fedbench.tensors.model import ModelState
    from fedbench.transport.receipt import Receipt

log = logging.getLogger("fedbench.rpc")

Answer = tuple[Any, "ModelState | None"]

MAX_CALLS = 4096
MODEL_EVENT = "model"
MAX_MESSAGE = 1000
MAX_TRACEBACK = 2000


class Target(Protocol):
    """What a stub dispatches to: a learner on a client, the global model on the server."""

    @property
    def at_once(self) -> Mapping[str, Callable[[Any, ModelState | None], Answer]]:
        """What runs the methods that wait for nothing, by name: with body and model, to the answer."""
        ...

    def call(self, method: str, body: Any, tensors: ModelState | None) -> Awaitable[Answer]:
        """Run any method; await its result as plain data and a model or None."""
        ...

    def model_update(self, model: ModelState) -> Awaitable[None] | None:
        """Take a pushed model of :data:`MODEL_EVENT`; it is taken when what is returned has been awaited."""
        ...

    async def event(self, event_type: str, data: Any) -> None:
        """Take a notification, or a pushed model of another event."""
        ...


class LearnerStub:
    """The answering side of RPC and push on one node.

    Each request runs as a task of its own, started in order of arrival, in the node's context; what waits for
    nothing is answered before that, where requests do not come out of the caller's own turn of the loop. A
    request whose deadline passes is cancelled; plain ``def`` methods of learners run to their end in their
    thread.

    Args:
        comm: The node's communication.
        target: What the calls are dispatched to.
        max_calls: Requests that may run at once; more are answered with ``Overloaded``.
        on_subscribed: On a server: called with the id of a client that has subscribed to
            :data:`MODEL_EVENT`, before it is answered.

    Attributes:
        subscribers: On a server: ids of the subscribed clients, in order, by event type.
    """

    def __init__(
        self,
        comm: CommunicationManager,
        target: Target,
        *,
        max_calls: int = MAX_CALLS,
        on_subscribed: Callable[[str], None] | None = None,
    ) -> None:
        self._comm = comm
        self._on_subscribed = on_subscribed
        self._target = target
        self._max_calls = max_calls
        self._send = comm.connections.router.send
        self._push_handlers = comm.connections.handlers(Kind.MODEL_PUSH)
        self._at_once = target.at_once
        self._within_turn = target.at_once if comm.connections.own_turn else {}
        self._context = comm.context
        self._subscribes = comm.role == "server"
        clock = RpcEndpoint.of(comm).clock
        self._deadlines = DeadlineTimer(clock, self._expire)
        self._throttle = Throttle(log, clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_number = 0
        self._running: dict[int, tuple[asyncio.Task[None], Message, int]] = {}
        self._closed = False
        self.subscribers: dict[str, dict[str, None]] = {}
        comm.connections.own(Kind.RPC_REQUEST, self._on_request)
        comm.register_message_handler(Kind.MODEL_PUSH, self._on_push)
        comm.register_message_handler(Kind.CLIENT_NOTIFY, self._on_notify)
        comm.control.monitor.on_disconnect(self._on_lost)

    # Pushing from the server ---------------------------------------------------------------------------

    def push(self, client_id: str, model: ModelState, event_type: str = MODEL_EVENT) -> Receipt:
        """Push a model to one client; await ``receipt.applied`` for its acknowledgement.

        Raises:
            TransportError: As for :meth:`CommunicationManager.send_business_message`.
        """
        return self._push(client_id, model, event_type, time.monotonic_ns())

    def _push(self, client_id: str, model: ModelState, event_type: str, now_ns: int) -> Receipt:
        return self._send(
            Message(MODEL_PUSH, self._comm.node_id, client_id, event_type, tensors=model, sent_ns=now_ns)
        )

    async def broadcast_model(
        self,
        model: ModelState,
        event_type: str = MODEL_EVENT,
        *,
        deadline_s: float | None = None,
        leave_out: Collection[str] = (),
    ) -> dict[str, Exception | None]:
        """Push a model to every subscriber and wait until each has applied it.

        Args:
            model: The model.
            event_type: Whose subscribers.
            deadline_s: Seconds after which one that has not applied it is reported.
            leave_out: Subscribers that have it already.

        Returns:
            Client id to None, or to why it did not apply the model: RemoteError, PeerLost, DeadlineExceeded.

        Raises:
            LocalProtocolError: This node is not a server.
        """
        if self._comm.role != "server":
            raise LocalProtocolError(f"{self._comm.node_id} is a client: only a server broadcasts models")
        clients = [c for c in self.subscribers.get(event_type, ()) if c not in leave_out]
        outcomes = Outcomes(clients)
        now_ns = time.monotonic_ns()  # the same for all: it is one message
        for client_id in clients:
            try:
                receipt = self._push(client_id, model, event_type, now_ns)
            except TransportError as error:
                outcomes.note(client_id, error.with_traceback(None))  # it holds this frame, which holds it
            else:
                receipt.on_applied(functools.partial(outcomes.note, client_id))
        return await outcomes.wait(deadline_s)

    # Answering -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Cancel the requests that still run and wait until they have ended; later ones are refused.

        Their callers are answered with ``ConnectionClosed``. A request that closes its own stub goes on.
        """
        self._closed = True
        self._deadlines.close()
        self._throttle.close()
        own = asyncio.current_task()
        running = {number: entry for number, entry in self._running.items() if entry[0] is not own}
        tasks = [task for task, _, _ in running.values()]
        closed = _describe(ConnectionClosed(f"{self._comm.node_id} was closed during the call"), "")
        for task, message, _ in running.values():
            if not task.cancelling():
                self._reply(message, ERROR, closed)
        self._cancel(list(running))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_request(self, message: Message) -> None:
        error: TransportError
        if self._closed:
            error = ConnectionClosed(f"{self._comm.node_id} is closing: it takes no more calls")
        elif len(self._running) >= self._max_calls:
            error = Overloaded(f"{self._comm.node_id} runs {self._max_calls} calls already: try again later")
        elif (run := self._within_turn.get(message.method)) is not None:
            self._answer(message, run)
            return
        else:
            self._last_number += 1
            number = self._last_number
            serving = self._serve(message, number)
            if self._loop is None:
                self._loop = asyncio.get_running_loop()  # asked once: it asks the kernel for the process
            task = self._loop.create_task(serving, context=self._context.copy())
            self._running[number] = (task, message, message.deadline_ns)
            if 0 < message.deadline_ns < self._deadlines.armed_ns:
                self._deadlines.watch(message.deadline_ns)
            return
        self._reply(message, ERROR, _describe(error, ""))

    def _answer(self, message: Message, run: Callable[[Any, ModelState | None], Answer]) -> None:
        """Answer a request that waits for nothing."""
        try:
            answer = run(message.body, message.tensors)
        except Exception as error:
            self._context.copy().run(self._fail, message, error)
        else:
            self._reply(message, "", *answer)

    async def _serve(self, message: Message, number: int) -> None:
        method = message.method
        try:
            if method == "train" and message.tensors is not None and is_pushed(message.body):
                await self._hand_out(message, message.tensors)
            run = self._at_once.get(method)
            if run is not None:
                body, tensors = run(message.body, message.tensors)
            elif self._subscribes and method in ("subscribe", "unsubscribe"):
                body, tensors = self._subscription(message), None
            else:
                body, tensors = await self._target.call(method, message.body, message.tensors)
            self._reply(message, "", body, tensors)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._fail(message, error)  # nobody cancelled this task: its handler raised that by itself
        except Exception as error:
            self._fail(message, error)
        finally:
            self._running.pop(number, None)

    async def _hand_out(self, message: Message, model: ModelState) -> None:
        """Do with a call that hands out the model which it carries as with a push of it."""
        if len(self._push_handlers) > 1:  # somebody beside this stub wants to see the message
            await self._comm.connections.apply(_push_within(message))
            return
        try:
            taking = self._target.model_update(model)
            if taking is not None:
                await taking
        except Exception as error:
            log.warning(
                "%s: a handler of model_push from %s raised %s: %s",
                message.target,
                message.source,
                type(error).__name__,
                error,
                exc_info=error,
            )

    def _fail(self, request: Message, error: BaseException) -> None:
        self._throttle.warning(
            ("raised", request.source, request.method, type(error)),
            "%s: %s called by %s raised %s: %s",
            self._comm.node_id,
            request.method,
            request.source,
            type(error).__name__,
            error,
        )
        self._reply(request, ERROR, _describe(error, "".join(traceback.format_exception(error))))

    def _reply(self, request: Message, method: str, body: Any, tensors: ModelState | None = None) -> None:
        """Send an answer; one that cannot be sent becomes a short error, so that the caller does not wait."""
        now_ns = time.monotonic_ns()
        message = Message(
            RPC_RESPONSE,
            request.target,
            request.source,
            method,
            body,
            tensors,
            request.correlation_id,
            0,
            1,
            0,
            now_ns,
        )
        try:
            self._send(message)
        except (TransportError, LocalProtocolError) as error:
            kind = ("answer", request.source)
            self._throttle.warning(kind, "%s could not answer %s: %s", request.target, request.source, error)
            short = replace(message, method=ERROR, body=_describe(error, ""), tensors=None, seq=0)
            with contextlib.suppress(TransportError):  # then the connection is over, or full
                self._send(short)

    def _expire(self, now_ns: int) -> int | None:
        self._cancel([number for number, (_, _, due_ns) in self._running.items() if 0 < due_ns <= now_ns])
        return min((due_ns for _, _, due_ns in self._running.values() if due_ns), default=None)

    def _cancel(self, numbers: list[int]) -> None:
        for number in numbers:
            task, message, _ = self._running[number]
            self._running[number] = (task, message, 0)  # cancelled once: from here on it has no deadline
            task.cancel()
            task.add_done_callback(functools.partial(self._ended, number))

    def _ended(self, number: int, _: asyncio.Task[None]) -> None:
        self._running.pop(number, None)  # a task that is cancelled before it began cannot do that itself

    def _subscription(self, message: Message) -> bool:
        event_type = MODEL_EVENT if message.body is None else message.body
        if not isinstance(event_type, str):
            raise ValueError(f"{message.method} needs the name of an event, got {event_type!r}")
        subscribers = self.subscribers.setdefault(event_type, {})
        if message.method == "subscribe":
            subscribers[message.source] = None
            if event_type == MODEL_EVENT and self._on_subscribed is not None:
                self._on_subscribed(message.source)
        else:
            subscribers.pop(message.source, None)
        return True

    def _on_push(self, message: Message) -> Awaitable[object] | None:
        if message.tensors is None:
            return None
        if message.method == MODEL_EVENT:
            return self._target.model_update(message.tensors)
        return self._target.event(message.method, message.tensors)

    def _on_notify(self, message: Message) -> Awaitable[object]:
        return self._target.event(
            message.method, message.body if message.tensors is None else message.tensors
        )

    def _on_lost(self, peer_id: str) -> None:
        for subscribers in self.subscribers.values():
            subscribers.pop(peer_id, None)
        self._cancel(
            [number for number, (_, message, _) in self._running.items() if message.source == peer_id]
        )


def _push_within(message: Message) -> Message:
    """Return the push that a call stands for when it hands out the model that it carries."""
    return Message(
        Kind.MODEL_PUSH,
        message.source,
        message.target,
        MODEL_EVENT,
        tensors=message.tensors,
        sent_ns=message.sent_ns,
    )


def _describe(error: BaseException, traceback_text: str) -> dict[str, str]:
    """Return an error as plain data of at most a few thousand characters: it must fit where models do not."""
    return {
        "type": type(error).__name__,
        "message": _sendable(str(error), MAX_MESSAGE),
        "traceback": _sendable(traceback_text, MAX_TRACEBACK),
    }


def _sendable(text: str, length: int) -> str:
    """Return the end of a text, without halves of surrogate pairs, which cannot be encoded."""
    return text[-length:].encode(errors="replace").decode()
