"""The nodes of a federation under the legacy architecture whose clients poll by HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.fleet.fleet import Exit, Fleet
from fedbench.polling.child import child_specs
from fedbench.polling.http import Address, HttpMail
from fedbench.polling.networkclient import HttpClientSpec, client_main
from fedbench.polling.nodes import PollingServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedbench.config import FederationConfig


class PollingNetworkNodes(PollingServer):
    """A polling server in this process and one polling process of this machine for each client.

    Args:
        config: The federation.
        through: Called with the server's address; returns the one that clients are to use in its place.
    """

    def __init__(
        self,
        config: FederationConfig,
        through: Callable[[Address], Awaitable[Address]] | None = None,
    ) -> None:
        self._http = HttpMail(config.server.server_id, (client.client_id for client in config.clients))
        super().__init__(config, self._http)
        self._federation = config
        self._through = through
        self._fleet = Fleet(client_main, config.fleet, on_exit=_exited)

    async def start(self) -> None:
        """Serve the mail, start every process and look until each has registered.

        Raises:
            TransportError: The server cannot listen; the port may be in use.
            RegistrationError: A client did not register in time.
        """
        network = self._federation.server.network
        assert network is not None  # the configuration has read it
        address = await self._http.listen(network.host, network.port)
        if self._through is not None:
            address = await self._through(address)
        children = child_specs(self._federation)
        await self._fleet.start({name: HttpClientSpec(child, address) for name, child in children.items()})
        await self.await_registrations()

    async def stop(self) -> None:
        """End every process, end serving and drop the mail; idempotent."""
        await self.end_listening()
        self.proxies.clear()
        await self._fleet.stop(grace_s=0, warn=False)
        await self._http.close()

    def lose(self, client_id: str) -> None:
        """Kill a client's process: nobody is told, its server can only time out.

        Raises:
            KeyError: There is no such client, or it does not run.
        """
        self._fleet.kill(client_id)


def _exited(client_id: str, end: Exit) -> None:
    """Do nothing: this architecture notices a death by its timeouts."""
