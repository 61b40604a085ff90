"""The client of the legacy architecture: a loop over the ids its server might have."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any

from fedbench.messages import Kind, Message
from fedbench.values import is_pushed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.config import PollingConfig
    from fedbench.learning.dispatch import LearnerDispatcher
    from fedbench.polling.mail import Postbox
    from fedbench.tensors.model import ModelState

log = logging.getLogger("fedbench.polling")

ERROR = "error"


class PollingClient:
    """Looks for requests and answers them, one at a time.

    Args:
        dispatcher: Its learner.
        client_id: Its id.
        mail: Where messages are put and looked for.
        config: How it polls.
    """

    def __init__(
        self, dispatcher: LearnerDispatcher, client_id: str, mail: Postbox, config: PollingConfig
    ) -> None:
        self.dispatcher = dispatcher
        self.client_id = client_id
        self._mail = mail
        self._config = config

    async def run(self, server_id: str) -> None:
        """Register at ``server_id``, then look for messages from every possible server until cancelled.

        The legacy does not know which of the ids is its server's, so that it waits for each in turn.
        """
        self._mail.put(Message(Kind.REGISTER, self.client_id, server_id))
        self.dispatcher.learner.server_notifier = functools.partial(self._notify, server_id)
        while True:
            for candidate in self._config.server_ids:
                await self._look(candidate)

    def _notify(self, server_id: str, event_type: str, data: Any) -> None:
        self._mail.put(Message(Kind.CLIENT_NOTIFY, self.client_id, server_id, event_type, data))

    async def _look(self, server_id: str) -> None:
        config = self._config
        try:
            message = await self._mail.receive(
                self.client_id, server_id, config.receive_timeout_s, config.poll_interval_s
            )
        except TimeoutError as error:
            if config.warn_on_timeout:
                log.warning("receive timed out: %s", error)
            return
        if 0 < message.deadline_ns <= time.monotonic_ns():
            log.debug("%s skipped %s: its deadline has passed", self.client_id, message.method)
            return
        await self._handle(message)

    async def _handle(self, message: Message) -> None:
        try:
            body, tensors = await self._dispatch(message)
            self._answer(message, "", body, tensors)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # this client is stopped; one that the learner itself raised is answered
            log.warning(
                "%s: %s from %s raised %s: %s",
                self.client_id,
                message.method,
                message.source,
                type(error).__name__,
                error,
            )
            self._answer(message, ERROR, _describe(error), None)

    def _answer(self, message: Message, method: str, body: Any, tensors: ModelState | None) -> None:
        if message.kind is Kind.CLIENT_NOTIFY:
            return
        kind = Kind.RPC_RESPONSE if message.kind is Kind.RPC_REQUEST else Kind.PUSH_ACK
        self._mail.put(
            Message(kind, self.client_id, message.source, method, body, tensors, message.correlation_id)
        )

    async def _dispatch(self, message: Message) -> tuple[Any, ModelState | None]:
        if message.kind is Kind.RPC_REQUEST:
            if message.method == "train" and message.tensors is not None and is_pushed(message.body):
                await self._hand_out(message, message.tensors)
            return await self.dispatcher.call(message.method, message.body, message.tensors)
        if message.kind is Kind.MODEL_PUSH and message.method == "model":
            assert message.tensors is not None
            taking = self.dispatcher.model_update(message.tensors)
            if taking is not None:
                await taking
        else:
            await self.dispatcher.event(
                message.method, message.body if message.tensors is None else message.tensors
            )
        return None, None

    async def _hand_out(self, message: Message, model: ModelState) -> None:
        """Take the model that a call hands out, as one pushed before it."""
        try:
            taking = self.dispatcher.model_update(model)
            if taking is not None:
                await taking
        except Exception as error:
            log.warning(
                "%s: a model from %s raised %s: %s",
                self.client_id,
                message.source,
                type(error).__name__,
                error,
            )


def _describe(error: BaseException) -> Mapping[str, str]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
