"""The server's view of one client of the legacy architecture: put a request, look for its answer."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from fedbench.errors import DeadlineExceeded, RemoteError
from fedbench.messages import Kind, Message
from fedbench.polling.client import ERROR
from fedbench.values import RoundInfo, TrainResult, result_from_body, round_to_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedbench.config import PollingConfig
    from fedbench.polling.mail import Mail
    from fedbench.tensors.model import ModelState


class PollingProxy:
    """Calls one client. One call at a time: a second waits for the first.

    Args:
        server_id: The calling node.
        client_id: The client.
        index: Its position in the configuration, from 0.
        mail: Where messages are put and looked for.
        config: How the server polls.

    Attributes:
        on_notify: Called with every notification from the client that the server finds.
    """

    def __init__(self, server_id: str, client_id: str, index: int, mail: Mail, config: PollingConfig) -> None:
        self.client_id = client_id
        self.index = index
        self._server_id = server_id
        self._mail = mail
        self._interval_s = config.poll_interval_s
        self._last_id = 0
        self._turn = asyncio.Lock()
        self._owed: ModelState | None = None
        self.on_notify: Callable[[Message], Awaitable[None]] = _ignore

    async def train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> TrainResult:
        """Have the learner train on ``model`` and return its update. Raises as :meth:`call`."""
        return await self.begin_train(model, round_info, deadline_s=deadline_s)

    def begin_train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> Awaitable[TrainResult]:
        """Do as :meth:`train`.

        A model that is still to be handed out (:meth:`owe`) is handed out with the call.
        """
        body = round_to_body(round_info, pushed=self.take_owed(model))
        return self._train(body, model, deadline_s)

    async def _train(self, body: Any, model: ModelState, deadline_s: float | None) -> TrainResult:
        answer = await self.call(Kind.RPC_REQUEST, "train", body, model, deadline_s)
        return result_from_body(answer.body, answer.tensors)

    def owe(self, model: ModelState) -> None:
        """Leave it to the next ``train`` that carries ``model`` to hand it out."""
        self._owed = model

    def take_owed(self, model: ModelState) -> bool:
        """Return whether ``model`` is still to be handed out; from now on it is not."""
        if self._owed is not model:
            return False
        self._owed = None
        return True

    async def evaluate(self, model: ModelState, *, deadline_s: float | None = None) -> dict[str, float]:
        """Have the learner evaluate ``model`` and return its metrics by name. Raises as :meth:`call`."""
        metrics: dict[str, float] = (
            await self.call(Kind.RPC_REQUEST, "evaluate", None, model, deadline_s)
        ).body
        return metrics

    async def ping(self, payload: Any = None, *, deadline_s: float | None = None) -> Any:
        """Return ``payload`` after a round trip. Raises as :meth:`call`."""
        return (await self.call(Kind.RPC_REQUEST, "ping", payload, None, deadline_s)).body

    async def push(
        self, model: ModelState, event_type: str = "model", *, deadline_s: float | None = None
    ) -> None:
        """Hand the client a model and wait until it has applied it. Raises as :meth:`call`."""
        await self.call(Kind.MODEL_PUSH, event_type, None, model, deadline_s)

    def notify(self, event_type: str, data: Any = None) -> None:
        """Leave plain data in the client's mailbox for its learner's ``on_event``; nothing comes back."""
        self._mail.put(Message(Kind.CLIENT_NOTIFY, self._server_id, self.client_id, event_type, data))

    async def call(
        self, kind: Kind, method: str, body: Any, model: ModelState | None, deadline_s: float | None
    ) -> Message:
        """Put a message into the client's mailbox and look for the answer.

        Raises:
            RemoteError: The learner raised.
            DeadlineExceeded: No answer came in time; waiting for the turn counts.
            LocalProtocolError: ``body`` is not plain data.
            ValueError: ``deadline_s`` is negative or no number.
        """
        if deadline_s == math.inf:
            deadline_s = None
        if deadline_s is not None and not deadline_s >= 0:
            raise ValueError(f"deadline_s is {deadline_s}: it must be at least 0")
        deadline_ns = 0 if deadline_s is None else time.monotonic_ns() + int(deadline_s * 1e9)
        try:
            async with asyncio.timeout(deadline_s), self._turn:
                self._last_id += 1
                self._mail.put(
                    Message(
                        kind,
                        self._server_id,
                        self.client_id,
                        method,
                        body,
                        model,
                        self._last_id,
                        deadline_ns,
                        sent_ns=time.monotonic_ns(),
                    )
                )
                answer = await self._answer()
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.client_id} did not answer {method} within {deadline_s} s"
            ) from None
        return self._unpack(answer)

    async def look(self) -> None:
        """Take every notification that has come, unless a call is open: that one finds them."""
        if self._turn.locked():
            return
        async with self._turn:
            while (message := self._mail.look(self._server_id, self.client_id)) is not None:
                if message.kind is Kind.CLIENT_NOTIFY:
                    await self.on_notify(message)

    async def _answer(self) -> Message:
        try:
            while True:
                answer = await self._mail.receive(self._server_id, self.client_id, math.inf, self._interval_s)
                if answer.kind is Kind.CLIENT_NOTIFY:
                    await self.on_notify(answer)
                elif answer.correlation_id == self._last_id:
                    return answer  # an answer to an earlier call came too late: its caller has gone
        except asyncio.CancelledError:  # the deadline, or the caller has gone
            self._mail.withdraw(self.client_id, self._server_id, self._last_id)
            raise

    def _unpack(self, answer: Message) -> Message:
        if answer.method == ERROR:
            error = answer.body
            raise RemoteError(self.client_id, error["type"], error["message"], error["traceback"])
        return answer


async def _ignore(message: Message) -> None:
    """Drop a notification: nobody asked for any."""
