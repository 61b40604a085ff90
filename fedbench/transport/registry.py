"""The transports by scheme. A backend is imported when it is first made, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.transport.base import TransportBase


def _memory(node_id: str, **options: Any) -> TransportBase:
    from fedbench.transport.memory import MemoryTransport

    return MemoryTransport(node_id, **options)


def _process(node_id: str, **options: Any) -> TransportBase:
    from fedbench.transport.process.backend import ProcessTransport

    return ProcessTransport(node_id, **options)


def _network(node_id: str, **options: Any) -> TransportBase:
    from fedbench.transport.network.backend import NetworkTransport

    return NetworkTransport(node_id, **options)


_FACTORIES: dict[str, Callable[..., TransportBase]] = {
    "memory": _memory,
    "process": _process,
    "network": _network,
}

SCHEMES: tuple[str, ...] = tuple(_FACTORIES)
"""The schemes that can be made."""


def check_scheme(scheme: str) -> str:
    """Return ``scheme`` if :func:`create` knows it.

    Raises:
        ValueError: It does not; the message names those it does.
    """
    if scheme in _FACTORIES:
        return scheme
    raise ValueError(f"unknown transport {scheme!r}: use one of {', '.join(SCHEMES)}")


def create(scheme: str, node_id: str, **options: Any) -> TransportBase:
    """Make the transport of a scheme.

    Args:
        scheme: One of :data:`SCHEMES`.
        node_id: The node it serves.
        options: Keyword arguments of that transport.

    Raises:
        ValueError: The scheme is unknown, or ``node_id`` may not name a node.
        TypeError: The transport takes no such option.
    """
    return _FACTORIES[check_scheme(scheme)](node_id, **options)
