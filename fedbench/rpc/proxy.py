"""LearnerProxy: the other end of a connection, as an object with methods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fedbench.control.monitor import PeerState
from fedbench.errors import DeadlineExceeded, PeerLost
from fedbench.messages import Kind, Message
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.stub import MODEL_EVENT
from fedbench.tensors.model import ModelState
from fedbench.values import RoundInfo, TrainResult, result_from_body, round_to_body

if TYPE_CHECKING:
    from fedbench.connection.communication import CommunicationManager
    from fedbench.transport.receipt import Receipt

PushHandler = Callable[[str, ModelState], Awaitable[None] | None]


class LearnerProxy:
    """Calls the node at the other end of a connection.

    On the server it stands for a client's learner; on a client it stands for the server, whose stub answers
    ``get_model`` with the global model. Every call may be cancelled: the caller forgets it, the other side
    runs to its end or to its deadline. Every call raises what :meth:`RpcEndpoint.call` raises.

    Args:
        comm: The calling node's communication.
        peer_id: Node at the other end.
        index: Position of the client in the configuration, from 0; reduction order depends on it.

    Attributes:
        client_id: Id of the node at the other end.
        index: As given.
        stale: Pushed models that were dropped because they were not newer than the last.
    """

    def __init__(self, comm: CommunicationManager, peer_id: str, index: int = 0) -> None:
        self.client_id = peer_id
        self.index = index
        self.stale = 0
        self._comm = comm
        endpoint = RpcEndpoint.of(comm)
        self._call, self._begin = endpoint.call, endpoint.begin
        self._handlers: list[PushHandler] = []
        self._model: ModelState | None = None
        self._owed: ModelState | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._listening = False

    async def train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> TrainResult:
        """Have the learner train on ``model`` and return its update."""
        return await self.begin_train(model, round_info, deadline_s=deadline_s)

    def begin_train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> asyncio.Future[TrainResult]:
        """Do as :meth:`train`, with the call sent before this returns and no task behind it.

        A model that is still to be handed out (:meth:`owe`) is handed out with the call.
        """
        body = round_to_body(round_info, pushed=self.take_owed(model))
        return self._begin(self.client_id, "train", body, model, deadline_s, _update_in)

    async def evaluate(self, model: ModelState, *, deadline_s: float | None = None) -> dict[str, float]:
        """Have the learner evaluate ``model`` and return its metrics by name."""
        metrics: dict[str, float] = (
            await self._call(self.client_id, "evaluate", None, model, deadline_s)
        ).body
        return metrics

    async def get_model(self, *, deadline_s: float | None = None) -> ModelState:
        """Return the other node's current model: on a client's behalf the global model.

        Raises:
            RemoteError: It has none yet.
        """
        model = (await self._call(self.client_id, "get_model", None, None, deadline_s)).tensors
        assert model is not None
        return model

    async def set_model(self, model: ModelState, *, deadline_s: float | None = None) -> None:
        """Make ``model`` the other node's current model, whatever its version."""
        await self._call(self.client_id, "set_model", None, model, deadline_s)

    async def ping(self, payload: Any = None, *, deadline_s: float | None = None) -> Any:
        """Return ``payload`` (plain data) after a round trip through every layer."""
        return await self._begin(self.client_id, "ping", payload, None, deadline_s, _body_of)

    async def call_remote_method(
        self,
        method: str,
        *args: Any,
        model: ModelState | None = None,
        deadline_s: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method of the learner's own that its configuration allows.

        Args:
            method: Its name, listed in the client's ``rpc.allowed_methods``.
            *args: Plain data.
            model: Handed to the method as keyword argument ``model`` unless it is None.
            deadline_s: Seconds until the answer is worthless.
            **kwargs: Plain data.

        Returns:
            What the method returned: plain data or a ModelState.

        Raises:
            RemoteError: It raised, or is not allowed (``PermissionError``).
        """
        answer = await self._call(
            self.client_id, method, {"args": list(args), "kwargs": kwargs}, model, deadline_s
        )
        return answer.body if answer.tensors is None else answer.tensors

    # Models pushed by the other node ---------------------------------------------------------------------

    def on_push(self, handler: PushHandler) -> Callable[[], None]:
        """Call ``handler(event_type, model)`` with every newer model that the other node pushes.

        Only models of the event ``model`` have to be newer than the last; those of others all count.

        The push is acknowledged when the handlers have returned. Call the result to stop.
        """
        self._listen()
        self._handlers.append(handler)

        def remove() -> None:
            if handler in self._handlers:
                self._handlers.remove(handler)

        return remove

    async def subscribe_model_updates(
        self,
        handler: PushHandler | None = None,
        event_type: str = MODEL_EVENT,
        *,
        deadline_s: float | None = None,
    ) -> None:
        """Ask the server to push models of ``event_type`` to this node; idempotent, ends with the connection.

        Args:
            handler: Added as by :meth:`on_push`.
            event_type: Which models.
            deadline_s: Seconds to wait for the server's answer.
        """
        self._listen()
        if handler is not None and handler not in self._handlers:
            self.on_push(handler)
        await self._call(self.client_id, "subscribe", event_type, None, deadline_s)

    async def unsubscribe_model_updates(
        self, event_type: str = MODEL_EVENT, *, deadline_s: float | None = None
    ) -> None:
        """Ask the server to push models of ``event_type`` no more; idempotent. Handlers stay."""
        await self._call(self.client_id, "unsubscribe", event_type, None, deadline_s)

    async def wait_model(self, newer_than: int = -1, *, deadline_s: float | None = None) -> ModelState:
        """Return the newest model pushed by the other node, once there is one newer than a version.

        Needs a subscription (:meth:`subscribe_model_updates`). Cancelling leaves nothing behind.

        Raises:
            DeadlineExceeded: None came within ``deadline_s`` seconds.
            PeerLost: The connection ended, before or while waiting, and with it the subscription.
        """
        self._listen()
        try:
            async with asyncio.timeout(deadline_s):
                while self._model is None or self._model.version <= newer_than:
                    self._check_connection()
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.client_id} pushed no model newer than version {newer_than} within {deadline_s} s"
            ) from None
        return self._model

    # Pushing to the other node ---------------------------------------------------------------------------

    def push_model(self, model: ModelState, event_type: str = MODEL_EVENT) -> Receipt:
        """Push a model to the other node; await ``receipt.applied`` for its acknowledgement.

        Raises:
            TransportError: As for :meth:`CommunicationManager.send_business_message`.
        """
        return self._send(Kind.MODEL_PUSH, event_type, None, model)

    def owe(self, model: ModelState) -> None:
        """Leave it to the next call that carries ``model`` to hand it out, instead of a push."""
        self._owed = model

    def take_owed(self, model: ModelState) -> bool:
        """Return whether ``model`` is still to be handed out; from now on it is not."""
        if self._owed is not model:
            return False
        self._owed = None
        return True

    def notify(self, event_type: str, data: Any = None, *, intended_ns: int = 0) -> Receipt:
        """Send plain data to the other node's handlers of notifications.

        Args:
            event_type: Name of the event.
            data: Plain data.
            intended_ns: Monotonic time at which this was meant to be sent, 0 for now.

        Raises:
            TransportError: As for :meth:`CommunicationManager.send_business_message`.
        """
        return self._send(Kind.CLIENT_NOTIFY, event_type, data, None, intended_ns)

    def _send(
        self, kind: Kind, event_type: str, body: Any, model: ModelState | None, intended_ns: int = 0
    ) -> Receipt:
        return self._comm.send_business_message(
            Message(
                kind,
                self._comm.node_id,
                self.client_id,
                event_type,
                body,
                model,
                sent_ns=time.monotonic_ns(),
                intended_ns=intended_ns,
            )
        )

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._comm.register_message_handler(Kind.MODEL_PUSH, self._on_push)
            self._comm.control.monitor.on_disconnect(self._on_lost)

    async def _on_push(self, message: Message) -> None:
        model = message.tensors
        if message.source != self.client_id or model is None:
            return
        if message.method == MODEL_EVENT:
            if self._model is not None and model.version <= self._model.version:
                self.stale += 1
                return
            self._model = model
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
        for handler in list(self._handlers):
            result = handler(message.method, model)
            if result is not None:
                await result

    def _check_connection(self) -> None:
        peer = self._comm.control.monitor.peers.get(self.client_id)
        if peer is not None and peer.state is PeerState.DISCONNECTED:
            raise PeerLost(self.client_id, peer.reason)

    def _on_lost(self, peer_id: str) -> None:
        if peer_id == self.client_id:
            reason = self._comm.control.monitor.peers[peer_id].reason
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(PeerLost(peer_id, reason))


def _update_in(answer: Message) -> TrainResult:
    return result_from_body(answer.body, answer.tensors)


def _body_of(answer: Message) -> Any:
    return answer.body
