"""What runs in the process of a client under the legacy architecture."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench import childlog
from fedbench.fleet.child import enter, leave_with
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import resolve_learner
from fedbench.loop import run
from fedbench.polling.client import PollingClient
from fedbench.polling.queues import QueueMail

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from fedbench.childlog import LogSetup
    from fedbench.config import ClientConfig, PollingConfig
    from fedbench.loop import LoopName
    from fedbench.values import ClientInfo


class PollingClientSpec(NamedTuple):
    """What a client's process is told at its start.

    Attributes:
        server_pid: Process of the server; the client ends with it.
        server_id: The server.
        inbound: The queue from the server.
        outbound: The queue to the server.
        info: Who it is.
        config: Its part of the configuration.
        polling: How it polls.
        loop: Event loop it runs in.
        logging: How it logs.
    """

    server_pid: int
    server_id: str
    inbound: Queue[Any]
    outbound: Queue[Any]
    info: ClientInfo
    config: ClientConfig
    polling: PollingConfig
    loop: LoopName
    logging: LogSetup


def client_main(client_id: str, incarnation: int, spec: PollingClientSpec) -> None:
    """Be a client until SIGTERM comes or the server is gone."""
    enter(spec.server_pid)
    leave_with(spec.server_pid)
    childlog.configure(spec.logging, client_id)
    run(_serve(client_id, spec), spec.loop)
    spec.outbound.cancel_join_thread()  # whoever read it may be gone


async def _serve(client_id: str, spec: PollingClientSpec) -> None:
    loop = asyncio.get_running_loop()
    learner = resolve_learner(spec.config.learner.type)(spec.info, **spec.config.learner.args)
    dispatcher = LearnerDispatcher(learner, client_id, spec.config.allowed_methods)
    mail = QueueMail({(client_id, spec.server_id): spec.inbound, (spec.server_id, client_id): spec.outbound})
    polling = loop.create_task(PollingClient(dispatcher, client_id, mail, spec.polling).run(spec.server_id))
    loop.add_signal_handler(signal.SIGTERM, polling.cancel)
    try:
        await polling
    except asyncio.CancelledError:
        await dispatcher.close()
