"""What runs in the process of a client under the legacy architecture, however it gets its mail."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from fedbench import childlog
from fedbench.errors import FedbenchError
from fedbench.fleet.child import enter, leave_with
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import resolve_learner
from fedbench.loop import run
from fedbench.polling.client import PollingClient
from fedbench.values import ClientInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from fedbench.childlog import LogSetup
    from fedbench.config import ClientConfig, FederationConfig, PollingConfig
    from fedbench.loop import LoopName
    from fedbench.polling.mail import Postbox

log = logging.getLogger("fedbench.polling")


class ChildSpec(NamedTuple):
    """What a client's process is told at its start, besides where its mail is.

    Attributes:
        server_pid: Process of the server; the client ends with it.
        server_id: The server.
        info: Who it is.
        config: Its part of the configuration.
        polling: How it polls.
        loop: Event loop it runs in.
        logging: How it logs.
    """

    server_pid: int
    server_id: str
    info: ClientInfo
    config: ClientConfig
    polling: PollingConfig
    loop: LoopName
    logging: LogSetup


def child_specs(config: FederationConfig) -> dict[str, ChildSpec]:
    """Return what each client of a federation is told by this process, its server, by id."""
    setup = childlog.describe()
    return {
        client.client_id: ChildSpec(
            os.getpid(),
            config.server.server_id,
            ClientInfo(client.client_id, index, len(config.clients), config.seed),
            client,
            config.polling,
            config.loop,
            setup,
        )
        for index, client in enumerate(config.clients)
    }


def run_client(
    client_id: str, spec: ChildSpec, open_mail: Callable[[], AbstractAsyncContextManager[Postbox]]
) -> None:
    """Be a client until SIGTERM comes or the server is gone.

    Args:
        client_id: The client.
        spec: What it is told.
        open_mail: Called in its event loop; gives the mail, which is closed at the end.

    Raises:
        SystemExit: With code 1: it could not go on; the reason is logged.
    """
    enter(spec.server_pid)
    leave_with(spec.server_pid)
    childlog.configure(spec.logging, client_id)
    try:
        run(_serve(client_id, spec, open_mail), spec.loop)
    except Exception as error:
        known = isinstance(error, FedbenchError)
        log.error("%s could not go on: %s: %s", client_id, type(error).__name__, error, exc_info=not known)
        raise SystemExit(1) from None


async def _serve(
    client_id: str, spec: ChildSpec, open_mail: Callable[[], AbstractAsyncContextManager[Postbox]]
) -> None:
    loop = asyncio.get_running_loop()
    learner = resolve_learner(spec.config.learner.type)(spec.info, **spec.config.learner.args)
    dispatcher = LearnerDispatcher(learner, client_id, spec.config.allowed_methods)
    async with open_mail() as mail:
        client = PollingClient(dispatcher, client_id, mail, spec.polling)
        polling = loop.create_task(client.run(spec.server_id))
        loop.add_signal_handler(signal.SIGTERM, polling.cancel)
        try:
            await polling
        except asyncio.CancelledError:
            await dispatcher.close()
