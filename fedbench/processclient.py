"""What runs in the process of a client, whatever joins it to the server."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, NamedTuple

from fedbench import childlog
from fedbench.errors import FedbenchError
from fedbench.fleet.child import enter, leave_with
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import resolve_learner
from fedbench.loop import run
from fedbench.push import PushClient, client_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.childlog import LogSetup
    from fedbench.config import ClientConfig
    from fedbench.loop import LoopName
    from fedbench.transport.base import TransportBase
    from fedbench.values import ClientInfo

log = logging.getLogger("fedbench.processes")


class ClientSpec(NamedTuple):
    """What a client's process is told at its start.

    Attributes:
        server_pid: Process of the server; the client ends with it.
        transport: Makes its transport; multiprocessing pickles it, so it names a class and plain values.
        server_id: The server.
        info: Who it is.
        config: Its part of the configuration.
        loop: Event loop it runs in.
        logging: How it logs.
    """

    server_pid: int
    transport: Callable[[], TransportBase]
    server_id: str
    info: ClientInfo
    config: ClientConfig
    loop: LoopName
    logging: LogSetup


def client_main(client_id: str, incarnation: int, spec: ClientSpec) -> None:
    """Be a client until the server closes the connection, is lost, or SIGTERM comes.

    Args:
        client_id: The client.
        incarnation: How often it has been started, from 1.
        spec: What it is told.

    Raises:
        SystemExit: With code 1: it could not join the federation; the reason is logged.
    """
    enter(spec.server_pid)
    leave_with(spec.server_pid)
    childlog.configure(spec.logging, client_id)
    try:
        run(_serve(client_id, spec), spec.loop)
    except Exception as error:
        known = isinstance(error, FedbenchError)
        log.error("%s could not go on: %s: %s", client_id, type(error).__name__, error, exc_info=not known)
        raise SystemExit(1) from None


async def _serve(client_id: str, spec: ClientSpec) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    learner = resolve_learner(spec.config.learner.type)(spec.info, **spec.config.learner.args)
    dispatcher = LearnerDispatcher(learner, client_id, spec.config.allowed_methods)
    client = PushClient(client_node(client_id, spec.transport()), dispatcher)
    client.comm.control.monitor.on_disconnect(lambda _: over.set())
    try:
        await client.start(spec.server_id)
        await over.wait()
    finally:
        await client.stop()
