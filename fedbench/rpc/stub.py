"""LearnerStub: answers the calls that arrive at a node, and hands it models and notifications."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from fedbench.errors import ConnectionClosed, DeadlineExceeded, LocalProtocolError, Overloaded, TransportError
from fedbench.messages import Kind, Message
from fedbench.rpc.endpoint import ERROR, RpcEndpoint

if TYPE_CHECKING:
    from fedbench.connection.communication import CommunicationManager
    from fedbench.tensors.model import ModelState
    from fedbench.transport.receipt import Receipt

log = logging.getLogger("fedbench.rpc")

MAX_CALLS = 4096
MODEL_EVENT = "model"


class Target(Protocol):
    """What a stub dispatches to: a learner on a client, the global model on the server."""

    async def call(self, method: str, body: Any, tensors: ModelState | None) -> tuple[Any, ModelState | None]:
        """Run a method and return its result as plain data and a model or None."""
        ...

    async def model_update(self, model: ModelState) -> bool:
        """Take a pushed model; False if it was not newer than the last."""
        ...

    async def event(self, event_type: str, data: Any) -> None:
        """Take a notification."""
        ...


class LearnerStub:
    """The answering side of RPC and push on one node.

    Each request runs as a task of its own, started in order of arrival, in the node's context. A request
    whose deadline passes is cancelled; plain ``def`` methods of learners run to their end in their thread.

    Args:
        comm: The node's communication.
        target: What the calls are dispatched to.
        max_calls: Requests that may run at once; more are answered with ``Overloaded``.

    Attributes:
        subscribers: On a server: ids of the subscribed clients, in order, by event type.
    """

    def __init__(self, comm: CommunicationManager, target: Target, *, max_calls: int = MAX_CALLS) -> None:
        self._comm = comm
        self._target = target
        self._max_calls = max_calls
        self._deadlines = RpcEndpoint.of(comm).deadlines
        self._running: dict[asyncio.Task[None], str] = {}
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
        return self._comm.send_business_message(
            Message(
                Kind.MODEL_PUSH,
                self._comm.node_id,
                client_id,
                event_type,
                tensors=model,
                sent_ns=time.monotonic_ns(),
            )
        )

    async def broadcast_model(
        self, model: ModelState, event_type: str = MODEL_EVENT, *, deadline_s: float | None = None
    ) -> dict[str, Exception | None]:
        """Push a model to every subscriber and wait until each has applied it.

        Returns:
            Client id to None, or to why it did not apply the model: RemoteError, PeerLost, DeadlineExceeded.

        Raises:
            LocalProtocolError: This node is not a server.
        """
        if self._comm.role != "server":
            raise LocalProtocolError(f"{self._comm.node_id} is a client: only a server broadcasts models")
        outcomes: dict[str, Exception | None] = {}
        waiting: dict[asyncio.Future[None], str] = {}
        for client_id in list(self.subscribers.get(event_type, ())):
            outcomes[client_id] = None
            try:
                waiting[asyncio.ensure_future(self.push(client_id, model, event_type).applied)] = client_id
            except TransportError as error:
                outcomes[client_id] = error
        if not waiting:
            return outcomes
        done, pending = await asyncio.wait(waiting, timeout=deadline_s)
        for future in done:
            raised = future.exception()
            outcomes[waiting[future]] = raised if isinstance(raised, Exception) else None
        for future in pending:
            client_id = waiting[future]
            outcomes[client_id] = DeadlineExceeded(
                f"{client_id} did not apply the model within {deadline_s} s"
            )
        return outcomes

    # Answering -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Cancel the requests that still run and wait until they have ended; later ones are refused."""
        self._closed = True
        tasks = list(self._running)
        for task in tasks:
            self._cancel(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_request(self, message: Message) -> None:
        error: TransportError
        if self._closed:
            error = ConnectionClosed(f"{self._comm.node_id} is closing: it takes no more calls")
        elif len(self._running) >= self._max_calls:
            error = Overloaded(f"{self._comm.node_id} runs {self._max_calls} calls already: try again later")
        else:
            task = asyncio.get_running_loop().create_task(self._serve(message), context=self._comm.context)
            self._running[task] = message.source
            return
        self._reply(message, ERROR, _describe(error, ""))

    async def _serve(self, message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        token = 0
        if message.deadline_ns:
            token = self._deadlines.add(message.deadline_ns, task.cancel)
        try:
            if message.method in ("subscribe", "unsubscribe") and self._comm.role == "server":
                body, tensors = self._subscription(message), None
            else:
                body, tensors = await self._target.call(message.method, message.body, message.tensors)
            self._reply(message, "", body, tensors)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and task.cancelling():
                raise  # nobody waits any more; one that the method itself raised is answered
            log.warning(
                "%s: %s called by %s raised %s: %s",
                self._comm.node_id,
                message.method,
                message.source,
                type(error).__name__,
                error,
            )
            self._reply(message, ERROR, _describe(error, "".join(traceback.format_exception(error))))
        finally:
            self._running.pop(task, None)
            if token:
                self._deadlines.discard(token)

    def _reply(self, request: Message, method: str, body: Any, tensors: ModelState | None = None) -> None:
        try:
            self._comm.send_business_message(
                Message(
                    Kind.RPC_RESPONSE,
                    request.target,
                    request.source,
                    method,
                    body,
                    tensors,
                    request.correlation_id,
                    sent_ns=time.monotonic_ns(),
                )
            )
        except TransportError as error:
            log.warning("%s could not answer %s: %s", request.target, request.source, error)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        task.add_done_callback(lambda ended: self._running.pop(ended, None))  # it may never have begun

    def _subscription(self, message: Message) -> bool:
        event_type = MODEL_EVENT if message.body is None else message.body
        if not isinstance(event_type, str):
            raise ValueError(f"{message.method} needs the name of an event, got {event_type!r}")
        subscribers = self.subscribers.setdefault(event_type, {})
        if message.method == "subscribe":
            subscribers[message.source] = None
        else:
            subscribers.pop(message.source, None)
        return True

    async def _on_push(self, message: Message) -> None:
        if message.tensors is not None:
            await self._target.model_update(message.tensors)

    async def _on_notify(self, message: Message) -> None:
        await self._target.event(message.method, message.body if message.tensors is None else message.tensors)

    def _on_lost(self, peer_id: str) -> None:
        for subscribers in self.subscribers.values():
            subscribers.pop(peer_id, None)
        for task in [task for task, source in self._running.items() if source == peer_id]:
            self._cancel(task)


def _describe(error: BaseException, traceback_text: str) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error), "traceback": traceback_text}
