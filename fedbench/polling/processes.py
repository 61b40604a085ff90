"""The nodes of a federation under the legacy architecture whose clients are processes of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.fleet import starting
from fedbench.fleet.fleet import Exit, Fleet
from fedbench.loop import in_thread
from fedbench.polling.child import child_specs
from fedbench.polling.nodes import PollingServer
from fedbench.polling.processclient import QueueClientSpec, client_main
from fedbench.polling.queues import QueueMail, make

if TYPE_CHECKING:
    from fedbench.config import FederationConfig


class PollingProcessNodes(PollingServer):
    """A polling server in this process and one polling process for each client.

    Args:
        config: The federation.
    """

    def __init__(self, config: FederationConfig) -> None:
        super().__init__(config, QueueMail({}))
        self._federation = config
        self._fleet = Fleet(client_main, config.fleet, on_exit=_exited)

    async def start(self) -> None:
        """Make two queues a client, start every process and look until each has registered.

        Raises:
            RegistrationError: A client did not register in time.
        """
        specs = await in_thread(self._specs)
        self.mail = QueueMail(
            {(client_id, self.server_id): spec.inbound for client_id, spec in specs.items()}
            | {(self.server_id, client_id): spec.outbound for client_id, spec in specs.items()}
        )
        await self._fleet.start(specs)
        await self.await_registrations()

    async def stop(self) -> None:
        """End every process, and drop the mail; idempotent."""
        await self.end_listening()
        self.proxies.clear()
        await self._fleet.stop(grace_s=0, warn=False)
        await in_thread(self._forget)

    def lose(self, client_id: str) -> None:
        """Kill a client's process: nobody is told, its server can only time out.

        Raises:
            KeyError: There is no such client, or it does not run.
        """
        self._fleet.kill(client_id)

    def _forget(self) -> None:
        for client_id in self.indices:
            self.mail.forget(client_id)

    def _specs(self) -> dict[str, QueueClientSpec]:
        context = starting.context(self._federation.fleet.start_method)
        return {
            client_id: QueueClientSpec(child, make(context), make(context))
            for client_id, child in child_specs(self._federation).items()
        }


def _exited(client_id: str, end: Exit) -> None:
    """Do nothing: this architecture notices a death by its timeouts."""
