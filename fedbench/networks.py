"""The nodes of a federation joined by a network: the server here, one local process for each client."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from fedbench import childlog
from fedbench.errors import RegistrationError, TransportError
from fedbench.fleet.fleet import Exit, Fleet
from fedbench.networkclient import NetworkClientSpec, client_main
from fedbench.push import PushServer
from fedbench.transport.network.backend import NetworkTransport
from fedbench.values import ClientInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.config import FederationConfig
    from fedbench.netsettings import NetworkSettings

log = logging.getLogger("fedbench.networks")

START_TIMEOUT_S = 60.0


class NetworkNodes:
    """A server in this process, and one process for each client that dials it.

    A client that says no port of its own dials the one that the server listens at, whichever that is.

    Args:
        config: The federation.
        by_hand: Given, no process is started: clients join by themselves, however long that takes, and it is
            called with a line for people on what happens meanwhile.

    Attributes:
        transport: The server's transport.
        side: The server's side.
        fleet: The clients' processes.
    """

    def __init__(self, config: FederationConfig, by_hand: Callable[[str], None] | None = None) -> None:
        self._config = config
        self._by_hand = by_hand
        server = config.server
        self.transport = NetworkTransport(server.server_id, server.network, role="server")
        self.side = PushServer(config, self.transport, on_subscribed=self._subscribed)
        self.learners, self.hold = self.side.learners, self.side.hold
        self.broadcast, self.publish = self.side.broadcast, self.side.publish
        self.fleet = Fleet(client_main, config.fleet, on_exit=self._exited)
        self._missing: set[str] = set()
        self._joined: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Listen, start every process and wait until each has registered.

        Raises:
            RoutingError: The server cannot listen.
            ConfigError: Its certificates or tokens cannot be used.
            RegistrationError: A client ended before it had registered, or did not within 60 seconds.
        """
        await self.side.comm.start()
        specs = self._specs()
        self._missing, joined = set(specs), asyncio.get_running_loop().create_future()
        self._joined = joined
        try:
            if self._by_hand is None:
                await self.fleet.start(specs)
            else:
                settings = self._place(self._config.server.network)
                scheme = "http" if settings.tls is None else "https"
                self._by_hand(f"listening at {scheme}://{settings.host}:{settings.port}, {self._waiting()}")
            async with asyncio.timeout(START_TIMEOUT_S if self._by_hand is None else None):
                await joined
        except TimeoutError:
            missing = ", ".join(sorted(self._missing))
            raise RegistrationError(f"not registered within {START_TIMEOUT_S:g} s: {missing}") from None
        finally:
            self._joined = None
            if joined.done() and not joined.cancelled():
                joined.exception()  # it has been raised, or the start was cancelled

    async def stop(self) -> None:
        """Close every connection and wait until the processes have ended; idempotent."""
        await asyncio.gather(self.fleet.stop(), self.side.close())

    def lose(self, client_id: str) -> None:
        """Kill a client's process.

        Raises:
            KeyError: There is no such client.
        """
        self.fleet.kill(client_id)

    def _waiting(self) -> str:
        return f"waiting for {len(self._missing)} clients" if self._missing else "all are there"

    def _specs(self) -> dict[str, NetworkClientSpec]:
        config = self._config
        setup = childlog.describe()
        return {
            client.client_id: NetworkClientSpec(
                os.getpid(),
                self._place(client.network),
                config.server.server_id,
                ClientInfo(client.client_id, index, len(config.clients), config.seed),
                client,
                config.loop,
                setup,
            )
            for index, client in enumerate(config.clients)
        }

    def _place(self, settings: NetworkSettings | None) -> NetworkSettings:
        assert settings is not None  # the configuration has read it
        return settings if settings.port else replace(settings, port=self.transport.port)

    def _subscribed(self, client_id: str) -> None:
        model = self.side.global_model.model
        if self._joined is not None:
            self._missing.discard(client_id)
            if self._by_hand is not None:
                self._by_hand(f"{client_id} joined, {self._waiting()}")
            if not self._missing and not self._joined.done():
                self._joined.set_result(None)
        if model is not None:  # it was away, and missed it
            try:
                self.side.stub.push(client_id, model)
            except TransportError as error:
                log.warning("%s was not sent the current model: %s", client_id, error)

    def _exited(self, client_id: str, end: Exit) -> None:
        """A process has ended: its session is over now, not when its window is."""
        self.transport.lose(client_id, f"its process {end.pid} ended")
        joined = self._joined
        if joined is not None and client_id in self._missing and not end.restarted and not joined.done():
            joined.set_exception(
                RegistrationError(
                    f"{client_id} ended before it registered (exit code {end.exitcode}): see its log"
                )
            )
