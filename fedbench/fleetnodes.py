"""A push server in this process and one process for each client, whatever joins them."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from fedbench import childlog
from fedbench.errors import RegistrationError, TransportError
from fedbench.fleet.fleet import Exit, Fleet
from fedbench.processclient import ClientSpec, client_main
from fedbench.push import PushServer
from fedbench.values import ClientInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.config import ClientConfig, FederationConfig
    from fedbench.transport.base import TransportBase

log = logging.getLogger("fedbench.fleetnodes")

START_TIMEOUT_S = 60.0


class Start(NamedTuple):
    """Clients that have not registered yet, and what tells that none is left."""

    missing: set[str]
    done: asyncio.Future[None]


class FleetNodes(ABC):
    """A server in this process, and a fleet of clients that join it.

    Args:
        config: The federation.
        transport: The server's transport.

    Attributes:
        side: The server's side.
        fleet: The clients' processes.
        start_timeout_s: How long the clients may take to register, in seconds; None is for ever.
    """

    start_timeout_s: float | None = START_TIMEOUT_S

    def __init__(self, config: FederationConfig, transport: TransportBase) -> None:
        self._config = config
        self.side = PushServer(config, transport, on_subscribed=self._subscribed)
        self.learners, self.hold = self.side.learners, self.side.hold
        self.broadcast, self.publish = self.side.broadcast, self.side.publish
        self.on_notify = self.side.global_model.on_notify
        self.fleet = Fleet(
            client_main, config.fleet, on_exit=self._exited, preload=(type(transport).__module__,)
        )
        self._start: Start | None = None

    async def start(self) -> None:
        """Open the server, start every process and wait until each has registered.

        Raises:
            RoutingError: The server cannot listen.
            ConfigError: Its certificates or tokens cannot be used.
            RegistrationError: A client ended before it had registered, or did not in time.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._start = Start({client.client_id for client in self._config.clients}, done)
        try:
            await self.side.comm.start()
            await self._bring_clients()
            async with asyncio.timeout(self.start_timeout_s):
                await done
        except TimeoutError:
            missing = ", ".join(sorted(self._start.missing))
            raise RegistrationError(f"not registered within {self.start_timeout_s:g} s: {missing}") from None
        finally:
            self._start = None
            if done.done() and not done.cancelled():
                done.exception()  # it has been raised, or the start was cancelled

    async def stop(self) -> None:
        """Close every connection and wait until the processes have ended; idempotent."""
        await asyncio.gather(self.fleet.stop(), self.side.close())

    def lose(self, client_id: str) -> None:
        """Kill a client's process.

        Raises:
            KeyError: There is no such client.
        """
        self.fleet.kill(client_id)

    @abstractmethod
    def _client_transport(self, client: ClientConfig) -> Callable[[], TransportBase]:
        """Return what makes the transport of a client, in its process."""

    async def _bring_clients(self) -> None:
        """Have every client come: their processes are started when the server is open."""
        setup = childlog.describe()
        config = self._config
        await self.fleet.start(
            {
                client.client_id: ClientSpec(
                    os.getpid(),
                    self._client_transport(client),
                    config.server.server_id,
                    ClientInfo(client.client_id, index, len(config.clients), config.seed),
                    client,
                    config.loop,
                    setup,
                )
                for index, client in enumerate(config.clients)
            }
        )

    def _subscribed(self, client_id: str) -> None:
        start, model = self._start, self.side.global_model.model
        if start is not None:
            start.missing.discard(client_id)
            if not start.missing and not start.done.done():
                start.done.set_result(None)
        if model is not None:  # it was away, and missed it
            try:
                self.side.stub.push(client_id, model)
            except TransportError as error:
                log.warning("%s was not sent the current model: %s", client_id, error)

    def _exited(self, client_id: str, end: Exit) -> None:
        start = self._start
        if start is not None and client_id in start.missing and not end.restarted and not start.done.done():
            start.done.set_exception(
                RegistrationError(
                    f"{client_id} ended before it registered (exit code {end.exitcode}): see its log"
                )
            )
