"""The nodes of a federation whose clients are processes of this machine: the server here, a fleet of them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from fedbench import childlog
from fedbench.errors import RegistrationError, TransportError
from fedbench.fleet.fleet import Exit, Fleet
from fedbench.loop import in_thread
from fedbench.processclient import ClientSpec, client_main
from fedbench.push import PushServer
from fedbench.tensors import segments
from fedbench.transport.process.backend import ProcessTransport
from fedbench.values import ClientInfo

if TYPE_CHECKING:
    from fedbench.config import FederationConfig
    from fedbench.tensors.shared import SharedStore

log = logging.getLogger("fedbench.processes")

START_TIMEOUT_S = 60.0
_exchanges = itertools.count(1)


class Start(NamedTuple):
    """Clients that have not registered yet, and what tells that none is left."""

    missing: set[str]
    done: asyncio.Future[None]


class ProcessNodes:
    """A server in this process and one process for each client.

    Args:
        config: The federation.
        store: Where the server's models lie.

    Attributes:
        side: The server's side.
        fleet: The clients' processes.
    """

    def __init__(self, config: FederationConfig, store: SharedStore) -> None:
        self._config = config
        self._exchange = f"{os.getpid()}-{next(_exchanges)}"
        transport = ProcessTransport(config.server.server_id, self._exchange, role="server", store=store)
        self.side = PushServer(config, transport, on_subscribed=self._subscribed)
        self.learners, self.hold = self.side.learners, self.side.hold
        self.broadcast, self.publish = self.side.broadcast, self.side.publish
        self.fleet = Fleet(client_main, config.fleet, on_exit=self._exited)
        self._start: Start | None = None
        self._sweeper: ThreadPoolExecutor | None = None
        self._stopping = False

    async def start(self) -> None:
        """Sweep what a killed run left behind, start every process and wait until each has registered.

        Raises:
            RegistrationError: A client ended before it had registered, or did not within 60 seconds.
        """
        self._sweeper = ThreadPoolExecutor(1, "fedbench-sweeper")
        swept = await asyncio.get_running_loop().run_in_executor(self._sweeper, segments.sweep)
        if swept:
            log.warning("removed %d segments of shared memory that a killed run left behind", len(swept))
        await self.side.comm.start()
        specs = self._specs()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._start = Start(set(specs), done)
        try:
            await self.fleet.start(specs)
            async with asyncio.timeout(START_TIMEOUT_S):
                await done
        except TimeoutError:
            missing = ", ".join(sorted(self._start.missing))
            raise RegistrationError(f"not registered within {START_TIMEOUT_S:g} s: {missing}") from None
        finally:
            self._start = None
            if done.done() and not done.cancelled():
                done.exception()  # it has been raised, or the start was cancelled

    async def stop(self) -> None:
        """Close every connection, wait until the processes have ended, and drop the models; idempotent."""
        self._stopping = True
        await asyncio.gather(self.fleet.stop(), self.side.close())
        if self._sweeper is not None:
            sweeper, self._sweeper = self._sweeper, None
            await in_thread(sweeper.shutdown)

    def lose(self, client_id: str) -> None:
        """Kill a client's process.

        Raises:
            KeyError: There is no such client.
        """
        self.fleet.kill(client_id)

    def _specs(self) -> dict[str, ClientSpec]:
        config = self._config
        setup = childlog.describe()
        return {
            client.client_id: ClientSpec(
                os.getpid(),
                self._exchange,
                config.server.server_id,
                ClientInfo(client.client_id, index, len(config.clients), config.seed),
                client,
                config.loop,
                setup,
            )
            for index, client in enumerate(config.clients)
        }

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
        if self._sweeper is not None:
            self._sweeper.submit(segments.sweep, end.pid, tracked=True)
        start = self._start
        if start is not None and client_id in start.missing and not end.restarted and not start.done.done():
            start.done.set_exception(
                RegistrationError(
                    f"{client_id} ended before it registered (exit code {end.exitcode}): see its log"
                )
            )
