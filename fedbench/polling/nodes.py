"""The nodes of a federation under the legacy architecture: the server, and clients in its loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any

from fedbench.errors import FedbenchError, RegistrationError
from fedbench.ids import current_node
from fedbench.polling.client import PollingClient
from fedbench.polling.mailbox import Mailboxes
from fedbench.polling.proxy import PollingProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fedbench.config import FederationConfig
    from fedbench.learning.dispatch import LearnerDispatcher
    from fedbench.messages import Message
    from fedbench.polling.mail import Mail
    from fedbench.tensors.model import ModelState

log = logging.getLogger("fedbench.polling")

REGISTRATION_TIMEOUT_S = 60.0
"""A slow machine starts a hundred processes in half a minute; only one that never comes is a fault."""


class PollingServer:
    """The server's side of the legacy architecture.

    Args:
        config: The federation.
        mail: Where messages are put and looked for.

    Attributes:
        server_id: The server.
        mail: As given.
        indices: Position of every client in the configuration, by id.
        proxies: The clients that have registered, by id.
    """

    def __init__(self, config: FederationConfig, mail: Mail) -> None:
        self.server_id = config.server.server_id
        self.mail = mail
        self.indices = {client.client_id: index for index, client in enumerate(config.clients)}
        self.proxies: dict[str, PollingProxy] = {}
        self._polling = config.polling
        self._handlers: list[Callable[[str, Any], Awaitable[None] | None]] = []
        self._listening: asyncio.Task[None] | None = None

    async def await_registrations(self) -> None:
        """Look until every client has registered.

        Raises:
            RegistrationError: A client did not register within 60 seconds.
        """
        for client_id, index in self.indices.items():
            try:
                await self.mail.receive(
                    self.server_id, client_id, REGISTRATION_TIMEOUT_S, self._polling.poll_interval_s
                )
            except TimeoutError as error:
                raise RegistrationError(f"{client_id} did not register: {error}") from error
            self.proxies[client_id] = PollingProxy(self.server_id, client_id, index, self.mail, self._polling)
            log.info("%s registered %s", self.server_id, client_id)

    def learners(self) -> list[PollingProxy]:
        """Return the registered clients in the order of the configuration."""
        return list(self.proxies.values())

    def on_notify(self, handler: Callable[[str, Any], Awaitable[None] | None]) -> None:
        """Call ``handler(event_type, data)`` with every notification from a client.

        From the first call on, the server looks into each client's mailbox at its interval, until
        :meth:`end_listening`.
        """
        self._handlers.append(handler)
        for proxy in self.learners():
            proxy.on_notify = self._notified
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def end_listening(self) -> None:
        """Look for notifications no more; idempotent."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            for proxy in self.learners():
                await proxy.look()
            await asyncio.sleep(self._polling.poll_interval_s)

    async def _notified(self, message: Message) -> None:
        for handler in self._handlers:
            try:
                result = handler(message.method, message.body)
                if result is not None:
                    await result
            except Exception as error:
                kind, source = type(error).__name__, message.source
                log.warning("a handler of a notification from %s raised %s: %s", source, kind, error)

    def hold(self, model: ModelState) -> None:
        """Do nothing: a polling server is asked for no model."""

    async def broadcast(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> dict[str, Exception | None]:
        """Hand the model to every client and wait until each has applied it.

        Returns:
            Client id to None, or to why it did not apply the model.
        """
        return dict(
            await asyncio.gather(*(self._push(proxy, model, deadline_s) for proxy in self.learners()))
        )

    def publish(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> Awaitable[dict[str, Exception | None]]:
        """Hand the model to every client once, as :meth:`PushServer.publish` does.

        A client that is called with the model before the result is awaited gets it by that call, the others
        by a message of its own.

        Returns:
            When awaited, as :meth:`broadcast`, of those that got a message of its own.
        """
        proxies = self.learners()
        for proxy in proxies:
            proxy.owe(model)
        return self._push_rest(proxies, model, deadline_s)

    async def _push_rest(
        self, proxies: Sequence[PollingProxy], model: ModelState, deadline_s: float | None
    ) -> dict[str, Exception | None]:
        rest = [proxy for proxy in proxies if proxy.take_owed(model)]
        return dict(await asyncio.gather(*(self._push(proxy, model, deadline_s) for proxy in rest)))

    @staticmethod
    async def _push(
        proxy: PollingProxy, model: ModelState, deadline_s: float | None
    ) -> tuple[str, Exception | None]:
        try:
            await proxy.push(model, deadline_s=deadline_s)
        except FedbenchError as error:
            return proxy.client_id, error
        return proxy.client_id, None


class PollingNodes(PollingServer):
    """A polling server and its polling clients, in one event loop.

    Args:
        config: The federation.
        dispatchers: One learner for each client, in the order of the configuration.
    """

    def __init__(self, config: FederationConfig, dispatchers: Sequence[LearnerDispatcher]) -> None:
        super().__init__(config, Mailboxes(copy=config.polling.copy))
        self._clients = {
            client.client_id: PollingClient(dispatcher, client.client_id, self.mail, config.polling)
            for client, dispatcher in zip(config.clients, dispatchers, strict=True)
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Start every client's loop and look until each has registered.

        Raises:
            RegistrationError: A client did not register within 60 seconds.
        """
        for client_id, client in self._clients.items():
            context = contextvars.copy_context()
            context.run(current_node.set, client_id)
            self._tasks[client_id] = asyncio.get_running_loop().create_task(
                client.run(self.server_id), context=context
            )
        await self.await_registrations()

    async def stop(self) -> None:
        """Stop every loop, wait until the learners have ended and drop their mail; idempotent."""
        await self.end_listening()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self.proxies.clear()
        for client_id, client in self._clients.items():
            await client.dispatcher.close()
            self.mail.forget(client_id)

    def lose(self, client_id: str) -> None:
        """End a client as a crash would: nobody is told, its server can only time out.

        Raises:
            KeyError: There is no such client.
        """
        self._tasks[client_id].cancel()
        self.mail.forget(client_id)
