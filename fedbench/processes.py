"""The nodes of a federation whose clients are joined by pipes and shared memory of this machine."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from fedbench.fleetnodes import FleetNodes
from fedbench.loop import in_thread
from fedbench.tensors import segments
from fedbench.transport.process.backend import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.config import ClientConfig, FederationConfig
    from fedbench.fleet.fleet import Exit
    from fedbench.tensors.shared import SharedStore

log = logging.getLogger("fedbench.processes")

_exchanges = itertools.count(1)


class ProcessNodes(FleetNodes):
    """A server in this process and one process for each client.

    Args:
        config: The federation.
        store: Where the server's models lie.
    """

    def __init__(self, config: FederationConfig, store: SharedStore) -> None:
        self._exchange = f"{os.getpid()}-{next(_exchanges)}"
        super().__init__(
            config, ProcessTransport(config.server.server_id, self._exchange, role="server", store=store)
        )
        self._sweeper: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Sweep what a killed run left behind, then as :meth:`FleetNodes.start`."""
        self._sweeper = ThreadPoolExecutor(1, "fedbench-sweeper")
        swept = await asyncio.get_running_loop().run_in_executor(self._sweeper, segments.sweep)
        if swept:
            log.warning("removed %d segments of shared memory that a killed run left behind", len(swept))
        await super().start()

    async def stop(self) -> None:
        """As :meth:`FleetNodes.stop`, then wait until what the processes left is swept; idempotent."""
        await super().stop()
        if self._sweeper is not None:
            sweeper, self._sweeper = self._sweeper, None
            await in_thread(sweeper.shutdown)

    def _client_transport(self, client: ClientConfig) -> Callable[[], ProcessTransport]:
        return partial(ProcessTransport, client.client_id, self._exchange, role="client")

    def _exited(self, client_id: str, end: Exit) -> None:
        if self._sweeper is not None:
            self._sweeper.submit(segments.sweep, end.pid, tracked=True)
        super()._exited(client_id, end)
