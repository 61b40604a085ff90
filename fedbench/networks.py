"""The nodes of a federation joined by a network: the server here, its clients local processes or anywhere."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fedbench.fleetnodes import FleetNodes
from fedbench.transport.network.backend import NetworkTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.config import ClientConfig, FederationConfig
    from fedbench.fleet.fleet import Exit
    from fedbench.netsettings import NetworkSettings


class NetworkNodes(FleetNodes):
    """A server in this process, and one process for each client that dials it.

    A client that says no port of its own dials the one that the server listens at, whichever that is.

    Args:
        config: The federation.
        by_hand: Given, no process is started: clients join by themselves, however long that takes, and it is
            called with a line for people on what happens meanwhile.

    Attributes:
        transport: The server's transport.
    """

    def __init__(self, config: FederationConfig, by_hand: Callable[[str], None] | None = None) -> None:
        server = config.server
        self.transport = NetworkTransport(server.server_id, server.network, role="server")
        super().__init__(config, self.transport)
        self._by_hand = by_hand
        if by_hand is not None:
            self.start_timeout_s = None

    async def _bring_clients(self) -> None:
        if self._by_hand is None:
            await super()._bring_clients()
            return
        settings = self._place(self._config.server.network)
        scheme = "http" if settings.tls is None else "https"
        self._by_hand(f"listening at {scheme}://{settings.host}:{settings.port}, {self._waiting()}")

    def _waiting(self) -> str:
        missing = 0 if self._start is None else len(self._start.missing)
        return f"waiting for {missing} client{'s' * (missing > 1)}" if missing else "all are there"

    def _client_transport(self, client: ClientConfig) -> Callable[[], NetworkTransport]:
        return partial(NetworkTransport, client.client_id, self._place(client.network), role="client")

    def _place(self, settings: NetworkSettings | None) -> NetworkSettings:
        assert settings is not None  # the configuration has read it
        return settings if settings.port else replace(settings, port=self.transport.port)

    def _subscribed(self, client_id: str) -> None:
        super()._subscribed(client_id)
        if self._start is not None and self._by_hand is not None:
            self._by_hand(f"{client_id} joined, {self._waiting()}")

    def _exited(self, client_id: str, end: Exit) -> None:
        """A process has ended: its session is over now, not when its window is."""
        self.transport.lose(client_id, f"its process {end.pid} ended")
        super()._exited(client_id, end)
