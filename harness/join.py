"""``fedbench join``: be one client of a federation that is served somewhere else."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import typer
import yaml
from rich.console import Console

from fedbench.errors import ConfigError, ConnectionBroken, FedbenchError, Problem
from fedbench.ids import check_name
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import resolve_learner
from fedbench.loop import run
from fedbench.netsettings import NetworkSettings, TlsSettings
from fedbench.push import PushClient, client_node
from fedbench.rpc.proxy import LearnerProxy
from fedbench.transport.connection import FENCED
from fedbench.transport.network.backend import NetworkTransport
from fedbench.transport.network.backoff import Backoff
from fedbench.values import ClientInfo
from harness.acceptance.outcome import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench.tensors.model import ModelState

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Joining(NamedTuple):
    """What a client is told on the command line.

    Attributes:
        settings: Where the server is, and on which terms.
        server_id: Who it is.
        client_id: Who this is.
        learner: Type of the learner.
        learner_args: Its arguments.
        retry: Whether it joins again when the server cannot be reached or was lost.
    """

    settings: NetworkSettings
    server_id: str
    client_id: str
    learner: str
    learner_args: dict[str, Any]
    retry: bool = False


def settings_of(
    server: str, *, ca: str | None, cert: str | None, key: str | None, token_file: str | None, insecure: bool
) -> NetworkSettings:
    """Return the settings that an address like ``https://host:port`` and the options beside it mean.

    Raises:
        ConfigError: It is no such address.
    """
    parts = urlsplit(server)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError("--server", [Problem("", f"{server!r}: {error}")]) from None
    if parts.scheme not in ("http", "https") or not host or not port or parts.path not in ("", "/"):
        raise ConfigError("--server", [Problem("", f"{server!r} is no address like https://host:port")])
    tls = TlsSettings(cert, key, ca) if parts.scheme == "https" else None
    if tls is None and (ca or cert or key):
        raise ConfigError("--server", [Problem("", "certificates need https, not http")])
    return NetworkSettings(host, port, tls, token_file, insecure)


def arguments(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that ``NAME=VALUE`` texts mean, each value read as YAML.

    Raises:
        ConfigError: One is no such text.
    """
    found = {}
    for text in assignments:
        name, assigned, value = text.partition("=")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            assigned = ""
        if not assigned or not name.isidentifier():
            raise ConfigError("--set", [Problem("", f"{text!r} is not NAME=VALUE")])
    return found


def join(joining: Joining, console: Console, verbose: int) -> None:
    """Be a client until the server ends the federation, or Ctrl-C; print each global model that comes.

    Raises:
        ConfigError: An id, the learner or the terms are wrong.
        typer.Exit: It was not admitted or the server was lost (3; it tries again instead where it was told
            to), another client of its id has come (3), or it was interrupted (130).
    """
    for option, name in (("--id", joining.client_id), ("--server-id", joining.server_id)):
        try:
            check_name(name)
        except ValueError as error:
            raise ConfigError(option, [Problem("", str(error))]) from None
    try:
        learner = resolve_learner(joining.learner)
    except ValueError as error:
        raise ConfigError("--learner", [Problem("", str(error))]) from error
    logging.basicConfig(level=_LEVELS[min(verbose, 2)], format="%(asctime)s %(levelname)s %(message)s")
    try:
        run(_serve(joining, learner, console))
    except KeyboardInterrupt:
        _say(console, "interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except ConfigError:
        raise
    except FedbenchError as error:
        _say(Console(stderr=True), f"failed: {error}")
        raise typer.Exit(ExitCode.STACK_FAILED) from None


async def _serve(joining: Joining, learner: Any, console: Console) -> None:
    """Be a client until the federation ends or SIGTERM comes; join again and again if it is told to."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    loop.add_signal_handler(signal.SIGTERM, _end, stopped, None)
    backoff = Backoff(random.random)
    while not stopped.done():
        being = loop.create_task(_be_client(joining, learner, console, backoff))
        try:
            await asyncio.wait([being, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            being.cancel()
            await asyncio.wait([being])
        if being.cancelled():
            _say(console, "stopped")
            return
        try:
            being.result()
            return
        except ConfigError:
            raise
        except FedbenchError as error:
            if not joining.retry or getattr(error, "reason", "") == FENCED:
                raise  # two of one id that both came back would go on for ever
            delay_s = backoff.delay_s()
            _say(console, f"{error}; joining again in {delay_s:.1f} s")
        await asyncio.wait([stopped], timeout=delay_s)


async def _be_client(joining: Joining, learner: Any, console: Console, backoff: Backoff) -> None:
    """Be a client until the federation ends, or until it is cancelled, at any point."""
    client_id, server_id = joining.client_id, joining.server_id
    comm = client_node(client_id, NetworkTransport(client_id, joining.settings, role="client"))
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client = None
    try:
        await comm.start()
        told = await comm.register_client(server_id)
        info = ClientInfo(client_id, told["index"], told["count"], told["seed"])
        _say(console, f"{client_id} joined {server_id} as client {info.index + 1} of {info.count}")
        dispatcher = LearnerDispatcher(_made(learner, info, joining.learner_args), client_id)
        client = PushClient(comm, dispatcher)
        LearnerProxy(comm, server_id).on_push(lambda event, model: _show(console, event, model))
        comm.control.monitor.on_disconnect(
            lambda peer_id: _end(over, comm.control.monitor.peers[peer_id].error)
        )
        await client.start(server_id)
        backoff.reset()
        await asyncio.wait([over])  # whoever cancels this is not to cancel that
        over.result()
        _say(console, f"{server_id} ended the federation")
    finally:
        if not over.cancel():
            over.exception()  # told already, or of no interest any more: nobody is to miss it
        await (comm.close() if client is None else client.stop())


def _made(learner: Any, info: ClientInfo, args: dict[str, Any]) -> Any:
    try:
        return learner(info, **args)
    except Exception as error:  # whatever a user's learner raises while it is made
        problem = f"{learner.__name__} cannot be made: {type(error).__name__}: {error}"
        raise ConfigError("--learner", [Problem("", problem)]) from error


def _end(over: asyncio.Future[None], error: Exception | None) -> None:
    """It is over, in order unless there is an error that bears a reason."""
    if over.done():
        return
    if isinstance(error, ConnectionBroken) and error.reason:
        over.set_exception(error)
    else:
        over.set_result(None)


def _show(console: Console, event: str, model: ModelState) -> None:
    if event == "model":
        _say(console, f"global model version {model.version}, {model.nbytes} bytes")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
