"""The configuration of a federation: YAML to frozen structs, with every error reported at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from fedbench.configfile import Section, in_document_order, read_yaml
from fedbench.errors import ConfigError, Problem
from fedbench.fleet.settings import RESTARTS, START_METHODS, FleetSettings
from fedbench.ids import MODES, Mode
from fedbench.loop import LOOPS, LoopName
from fedbench.netsettings import NetworkSettings, is_loopback, read_network

if TYPE_CHECKING:
    from pathlib import Path

Architecture = Literal["push", "polling"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
StoreName = Literal["heap", "shared"]
STORES: tuple[StoreName, ...] = get_args(StoreName)
DEFAULT_SERVER_ID = "yaml_fed_server"
MAX_CLIENTS = 100_000
MAX_DEADLINE_S = 1e9
LEGACY_SERVER_IDS = ("yaml_fed_server", "memory_server", "server")


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """A trainer or a learner: what it is and what it is made with.

    Attributes:
        type: A registered name, or ``module:Class``.
        args: Keyword arguments.
    """

    type: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server: its id, its trainer, and in network mode where it listens."""

    server_id: str = DEFAULT_SERVER_ID
    trainer: ComponentConfig = ComponentConfig("FedAvgTrainer")
    network: NetworkSettings | None = None


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """A client.

    Attributes:
        client_id: Its id.
        learner: Its learner.
        allowed_methods: What others may call on it, None for the five standard methods.
        network: In network mode, where it finds its server.
    """

    client_id: str
    learner: ComponentConfig = ComponentConfig("SimpleLearner")
    allowed_methods: tuple[str, ...] | None = None
    network: NetworkSettings | None = None


CheckLearner = Callable[[ClientConfig], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class PollingConfig:
    """How the polling architecture polls.

    Attributes:
        server_ids: Ids under which each client looks for its server; the real one is among them. By default
            the real one, ``memory_server`` and ``server``, as the legacy clients did.
        poll_interval_s: Sleep between two looks into a mailbox, in seconds: by default 1 ms in memory mode,
            10 ms between processes and by HTTP.
        receive_timeout_s: How long one receive looks before it gives up, in seconds.
        warn_on_timeout: Whether a receive that gave up leaves a WARNING.
        copy: Whether memory mode copies every message, its arrays too, as the legacy did; other modes always
            encode what they send.
    """

    server_ids: tuple[str, ...]
    poll_interval_s: float = 0.001
    receive_timeout_s: float = 0.010
    warn_on_timeout: bool = True
    copy: bool = True


@dataclass(frozen=True, slots=True)
class FederationConfig:
    """A whole federation.

    Attributes:
        seed: Seed of selection, data and shuffling.
        mode: How its nodes are joined.
        architecture: ``push``, or ``polling`` for the legacy architecture.
        loop: Event loop that the command line runs it in.
        server: The server.
        clients: At least one client, in the order that seeds and reduction follow.
        polling: How the polling architecture polls.
        store: Where models lie: on the heap, or in shared memory, as process mode needs them.
        fleet: How the clients' processes are started in process and network mode.
    """

    seed: int
    mode: Mode
    architecture: Architecture
    loop: LoopName
    server: ServerConfig
    clients: tuple[ClientConfig, ...]
    polling: PollingConfig
    store: StoreName = "heap"
    fleet: FleetSettings = field(default_factory=FleetSettings)


def load(path: str | Path, *, check_learner: CheckLearner | None = None) -> FederationConfig:
    """Read a federation from a YAML file.

    Args:
        path: The file.
        check_learner: Called with each client; yields what is wrong with its learner, as pairs of a path
            within the client and a message.

    Raises:
        ConfigError: With every problem and its path.
    """
    return from_mapping(read_yaml(path), source=str(path), check_learner=check_learner)


def from_mapping(
    mapping: Any, *, source: str = "config", check_learner: CheckLearner | None = None
) -> FederationConfig:
    """Read a federation from plain data; see :func:`load`."""
    problems: list[Problem] = []
    root = Section(mapping, "", problems)
    if problems:
        raise ConfigError(source, problems)
    seed = root.integer("seed", 0, least=0)
    server_section = root.section("server")
    transport = server_section.section("transport")
    default_mode: Mode = transport.choice("type", MODES, "memory")
    mode: Mode = root.choice("mode", MODES, default_mode)
    if transport.value("type") == default_mode:
        _check_transport(transport, default_mode, mode)
    network = read_network(transport) if mode == "network" else None
    architecture = _architecture(root, transport, network)
    transport.finish()
    server = _server(server_section, network)
    reader = _ClientReader(mode, problems, check_learner, network)
    clients = reader.read(root.value("clients"))
    if server.server_id in {client.client_id for client in clients}:
        problems.append(Problem("server.server_id", f"{server.server_id!r} is also the id of a client"))
    config = FederationConfig(
        seed,
        mode,
        architecture,
        root.choice("loop", LOOPS, "auto"),
        server,
        clients,
        _polling(root.section("polling"), server.server_id, mode),
        _store(root, mode),
        _fleet(root, mode),
    )
    root.finish()
    if problems:
        raise ConfigError(source, in_document_order(problems, mapping))
    return config


def _check_transport(section: Section, kind: Mode, mode: Mode) -> None:
    if kind != mode:
        message = f"{kind!r} differs from the federation's mode {mode!r}: all nodes must share one"
        section.problem("type", message)


def _architecture(root: Section, transport: Section, network: NetworkSettings | None) -> Architecture:
    architecture: Architecture = root.choice("architecture", ARCHITECTURES, "push")
    if architecture == "polling" and network is not None and not is_loopback(network.host):
        transport.problem(
            "host",
            f"{network.host!r} is no loopback address: polling by HTTP knows no identities, so it is kept "
            "to this machine; use '127.0.0.1'",
        )
    return architecture


def _server(section: Section, network: NetworkSettings | None) -> ServerConfig:
    server_id = section.name("server_id", DEFAULT_SERVER_ID)
    trainer = section.section("trainer")
    kind = trainer.choice("type", ("FedAvgTrainer",), "FedAvgTrainer")
    args = trainer.section("args")
    values = {
        "rounds": args.integer("rounds", 20, least=1),
        "fraction": args.number("fraction", 1.0, above=0.0, most=1.0),
        "quorum": args.number("quorum", 1.0, above=0.0, most=1.0),
        "deadline_s": args.number("deadline_s", 30.0, above=0.0, most=MAX_DEADLINE_S),
    }
    for part in (args, trainer, section):
        part.finish()
    return ServerConfig(server_id, ComponentConfig(kind, values), network)


def _store(root: Section, mode: Mode) -> StoreName:
    store: StoreName = root.choice("store", STORES, "shared" if mode == "process" else "heap")
    if store == "heap" and mode == "process":
        root.problem("store", "clients of other processes cannot read the heap: use 'shared'")
    return store


def _fleet(root: Section, mode: Mode) -> FleetSettings:
    if mode == "memory" and root.value("fleet") is not None:
        root.problem("fleet", f"there are no processes to start in {mode} mode: remove it")
    section = root.section("fleet")
    settings = FleetSettings(
        section.choice("start_method", START_METHODS, "forkserver"),
        section.choice("restart", RESTARTS, "never"),
        section.integer("max_restarts", 3, least=0),
    )
    section.finish()
    return settings


def _polling(section: Section, server_id: str, mode: Mode) -> PollingConfig:
    others = [other for other in LEGACY_SERVER_IDS if other != server_id]
    server_ids = section.strings("server_ids", (server_id, *others[-2:]))
    if server_id not in server_ids:
        section.problem(
            "server_ids", f"the server's own id {server_id!r} is missing: no client would find it"
        )
    config = PollingConfig(
        server_ids,
        section.number("poll_interval_s", 0.001 if mode == "memory" else 0.010, above=0.0),
        section.number("receive_timeout_s", 0.010, above=0.0),
        section.boolean("warn_on_timeout", default=True),
        section.boolean("copy", default=True),
    )
    if not config.copy and mode != "memory":
        section.problem("copy", f"{mode} mode cannot send by reference: remove it, or use memory mode")
    section.finish()
    return config


class _ClientReader:
    """Reads the clients: a list, or a count with what they have in common."""

    def __init__(
        self,
        mode: Mode,
        problems: list[Problem],
        check_learner: CheckLearner | None,
        network: NetworkSettings | None,
    ) -> None:
        self._mode = mode
        self._network = network
        self._problems = problems
        self._check_learner = check_learner

    def read(self, value: Any) -> tuple[ClientConfig, ...]:
        if isinstance(value, Mapping):
            section = Section(value, "clients", self._problems)
            count = section.integer("count", None, least=1, most=MAX_CLIENTS)
            client = self._client(section, "")
            return tuple(
                dataclasses.replace(client, client_id=f"yaml_client_{n}") for n in range(1, count + 1)
            )
        if not isinstance(value, list) or not value:
            message = "at least one client is needed: give a list of clients, or {count: N, learner: {...}}"
            self._problems.append(Problem("clients", message))
            return ()
        clients = tuple(
            self._named(Section(item, f"clients[{i}]", self._problems), i) for i, item in enumerate(value)
        )
        first: dict[str, int] = {}
        for i, client in enumerate(clients):
            j = first.setdefault(client.client_id, i)
            if i != j:
                message = f"{client.client_id!r} is taken by clients[{j}] already: ids must differ"
                self._problems.append(Problem(f"clients[{i}].client_id", message))
        return clients

    def _named(self, section: Section, position: int) -> ClientConfig:
        return self._client(section, section.name("client_id", f"yaml_client_{position + 1}"))

    def _client(self, section: Section, client_id: str) -> ClientConfig:
        transport = section.section("transport")
        _check_transport(transport, transport.choice("type", MODES, self._mode), self._mode)
        network = None if self._network is None else read_network(transport, self._network)
        learner = section.section("learner")
        component = ComponentConfig(learner.string("type", "SimpleLearner"), learner.mapping("args"))
        rpc = section.section("rpc")
        client = ClientConfig(client_id, component, rpc.strings("allowed_methods", None), network)
        if self._check_learner is not None:
            for path, message in self._check_learner(client):
                section.problem(path, message)
        for part in (transport, learner, rpc, section):
            part.finish()
        return client
