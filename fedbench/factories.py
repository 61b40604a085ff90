"""Functions that make the parts of a node by mode: they choose a transport, all else is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.config import FederationConfig, from_mapping
from fedbench.connection.communication import CommunicationManager
from fedbench.ids import Mode, parse
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.proxy import LearnerProxy
from fedbench.transport import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.transport.base import TransportBase


class TransportWithIds(NamedTuple):
    """A transport that serves every node of a federation, and their ids in the order of the configuration."""

    transport: TransportBase
    server_id: str
    client_ids: tuple[str, ...]


def create_transport(
    mode: Mode, node_id: str, transport_config: Mapping[str, Any] | None = None
) -> TransportBase:
    """Make the transport of a mode.

    Args:
        mode: ``memory``, ``process`` or ``network``.
        node_id: The node it serves.
        transport_config: Options of that transport (memory: ``hub``, ``role``, ``limits``; network: ``host``,
            ``port`` and what else stands under ``transport`` in a configuration), beside ``type``.

    Raises:
        ValueError: The mode is unknown, or the id may not name a node.
        TypeError: That transport has no such option.
    """
    options = {name: value for name, value in (transport_config or {}).items() if name != "type"}
    return registry.create(mode, node_id, **options)


async def create_transport_with_ids(config: FederationConfig | Mapping[str, Any]) -> TransportWithIds:
    """Make one transport that serves the server and every client of a federation, listening for each.

    Raises:
        ConfigError: The configuration is wrong.
        RoutingError: An id is taken by another transport of this process; then none of them listens.
    """
    federation = config if isinstance(config, FederationConfig) else from_mapping(config)
    server_id = federation.server.server_id
    options: dict[str, Any] = {"role": "server"}
    if federation.mode == "network":
        options["settings"] = federation.server.network
    transport = create_transport(federation.mode, server_id, options)
    client_ids = tuple(client.client_id for client in federation.clients)
    try:
        await transport.start_event_listener(server_id)
        for client_id in client_ids:
            await transport.start_event_listener(client_id, role="client")
    except BaseException:
        await transport.close()
        raise
    return TransportWithIds(transport, server_id, client_ids)


def create_communication_manager(
    mode: Mode, node_id: str, transport_config: Mapping[str, Any] | None = None
) -> CommunicationManager:
    """Make the communication of a node; start it with ``await manager.start()``.

    Args:
        mode: As for :func:`create_transport`.
        node_id: The node.
        transport_config: As for :func:`create_transport`; ``role`` is needed for an id that does not tell it.

    Raises:
        ValueError: As for :func:`create_transport`, or the node's role is not known.
    """
    role = (transport_config or {}).get("role") or parse(node_id).role
    if role is None:
        raise ValueError(f"the id {node_id!r} does not tell its role: give {{'role': 'server'}} or 'client'")
    if role not in ("server", "client"):
        raise ValueError(f"unknown role {role!r} of {node_id!r}: use 'server' or 'client'")
    options = {**(transport_config or {}), "role": role}
    comm = CommunicationManager(node_id, create_transport(mode, node_id, options), role=role)
    RpcEndpoint.of(comm)  # a call to a node without a stub is refused, not left without an answer
    return comm


def create_learner_proxy(
    mode: Mode,
    client_id: str,
    server_id: str,
    comm_manager: CommunicationManager,
    *,
    index: int | None = None,
) -> LearnerProxy:
    """Make the proxy of the other end: of the client on the server, of the server on the client.

    Args:
        mode: How the two are joined.
        client_id: The client.
        server_id: The server.
        comm_manager: The communication of one of them.
        index: Position of the client in the federation, from 0; a trainer needs a different one for each.
            By default what the id tells (``memory_client_3`` has 2), 0 where it tells nothing.

    Raises:
        ValueError: The mode is unknown, or ``comm_manager`` belongs to neither of the two.
    """
    registry.check_scheme(mode)
    if comm_manager.node_id == server_id:
        return LearnerProxy(comm_manager, client_id, _index(client_id) if index is None else index)
    if comm_manager.node_id == client_id:
        return LearnerProxy(comm_manager, server_id)
    raise ValueError(
        f"the communication of {comm_manager.node_id!r} joins neither {client_id!r} nor {server_id!r}"
    )


def _index(client_id: str) -> int:
    told = parse(client_id).parts.get("index")
    return int(told) - 1 if told else 0
