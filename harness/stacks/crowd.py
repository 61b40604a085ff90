"""A federation whose clients share processes: many network clients on few cores, each with its own link."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench import childlog
from fedbench.errors import RegistrationError
from fedbench.federation import Federation
from fedbench.fleet import starting
from fedbench.fleet.child import enter, leave_with
from fedbench.fleet.fleet import Exit, Fleet
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import resolve_learner
from fedbench.loop import run
from fedbench.networks import NetworkNodes
from fedbench.push import PushClient, client_node
from fedbench.transport.network.backend import NetworkTransport
from fedbench.values import ClientInfo
from harness.stacks.children import loop_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from fedbench.childlog import LogSetup
    from fedbench.config import FederationConfig
    from fedbench.loop import LoopName

log = logging.getLogger("harness.crowd")

TOGETHER = 100
"""Clients of a process that join, or leave, at the same time."""
START_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0


class CrowdSpec(NamedTuple):
    """What a process of clients is told at its start.

    Attributes:
        server_pid: Process of the server; this one ends with it.
        config: The federation.
        port: Where its server listens.
        own: Which of the clients run here, by their position.
        loop: Event loop they run in.
        logging: How they log.
    """

    server_pid: int
    config: FederationConfig
    port: int
    own: range
    loop: LoopName
    logging: LogSetup


class CrowdedFederation(Federation):
    """A server in this process, and its clients in others, several in each.

    Args:
        config: The federation, in network mode.
        per_process: Clients in each process.
        through: Called with the server's port; returns the one that clients are to use in its place.
    """

    def __init__(
        self,
        config: FederationConfig,
        per_process: int,
        through: Callable[[int], Awaitable[int]] | None = None,
    ) -> None:
        super().__init__(config, by_hand=self._told)
        self._per_process = per_process
        self._through = through
        self._listens: asyncio.Future[Any]
        self._ended: asyncio.Future[Any]
        self._fleet = Fleet(_main, config.fleet, on_exit=self._exited, preload=(NetworkTransport.__module__,))

    async def start(self) -> None:
        """Open the server, start every process and wait until each client has registered.

        Raises:
            RegistrationError: A process ended before that.
            FedbenchError: As for :meth:`Federation.start`.
        """
        loop = asyncio.get_running_loop()
        self._listens, self._ended = loop.create_future(), loop.create_future()
        begun: asyncio.Future[Any] = loop.create_task(super().start())
        try:
            await asyncio.wait({begun, self._listens}, return_when=asyncio.FIRST_COMPLETED)
            if not begun.done():
                assert isinstance(self.nodes, NetworkNodes)
                port = self.nodes.transport.port
                if self._through is not None:
                    port = await self._through(port)
                await self._fleet.start(self._specs(port))
                await asyncio.wait({begun, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if not begun.done():
                raise RegistrationError(f"{self._ended.result()} before its clients had registered")
            await begun
        except BaseException:
            begun.cancel()
            await asyncio.wait({begun})
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection and wait until the processes have ended; idempotent."""
        await asyncio.gather(self._fleet.stop(STOP_GRACE_S), super().stop())

    def _told(self, line: str) -> None:
        if not self._listens.done():
            self._listens.set_result(None)

    def _exited(self, name: str, end: Exit) -> None:
        if not self._ended.done():
            self._ended.set_result(f"{name} ended (exit code {end.exitcode})")

    def _specs(self, port: int) -> dict[str, CrowdSpec]:
        count = len(self.config.clients)
        setup = childlog.describe()
        parts = [
            range(first, min(first + self._per_process, count))
            for first in range(0, count, self._per_process)
        ]
        return {
            f"crowd_{number}": CrowdSpec(os.getpid(), self.config, port, own, loop_name(), setup)
            for number, own in enumerate(parts, start=1)
        }


def _main(name: str, incarnation: int, spec: CrowdSpec) -> None:
    """Be clients until the server has closed all their connections, is lost, or SIGTERM comes."""
    enter(spec.server_pid)
    leave_with(spec.server_pid)
    childlog.configure(spec.logging, name)
    starting.allow_descriptors(len(spec.own))
    try:
        run(_serve(spec), spec.loop)
    except Exception as error:
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        log.error("%s could not go on: %s: %s", name, type(first).__name__, first, exc_info=first)
        raise SystemExit(1) from None


async def _serve(spec: CrowdSpec) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    clients = [_client(spec, index) for index in spec.own]
    connected = len(clients)

    def left(_: str) -> None:
        nonlocal connected
        connected -= 1
        if not connected:
            over.set()

    for client in clients:
        client.comm.control.monitor.on_disconnect(left)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await _each(clients, lambda client: client.start(spec.config.server.server_id))
        await over.wait()
    finally:
        await _each(clients, lambda client: client.stop())


def _client(spec: CrowdSpec, index: int) -> PushClient:
    count, config = len(spec.config.clients), spec.config.clients[index]
    assert config.network is not None
    info = ClientInfo(config.client_id, index, count, spec.config.seed)
    learner = resolve_learner(config.learner.type)(info, **config.learner.args)
    transport = NetworkTransport(info.id, replace(config.network, port=spec.port), role="client")
    dispatcher = LearnerDispatcher(learner, info.id, config.allowed_methods)
    return PushClient(client_node(info.id, transport), dispatcher)


async def _each(clients: Iterable[PushClient], do: Callable[[PushClient], Awaitable[None]]) -> None:
    """Do the same with every client, with so many at a time; the first that fails ends it."""
    turn = asyncio.Semaphore(TOGETHER)

    async def one(client: PushClient) -> None:
        async with turn:
            await do(client)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(one(client))
