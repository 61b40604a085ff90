"""Node ids: ``{mode}_{role}_{instance}``, made and taken apart.

========  =============================================  ==============================
mode      server                                         client
========  =============================================  ==============================
memory    ``memory_server`` or ``yaml_fed_server``       ``memory_client_{n}`` or ``yaml_client_{n}``
process   ``process_server_{port}``                      ``process_client_{pid}_{port}``
network   ``network_server_{host}_{port}``               ``network_client_{host}_{port}_{uuid}``
========  =============================================  ==============================

Instances ``n`` are counted from 1. Names chosen by the user are accepted too when they match
:data:`NAME_PATTERN`. An id is fixed when it is made: the pid in it stays through a restart of the process.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["memory", "process", "network"]
Role = Literal["server", "client"]

MODES: tuple[Mode, ...] = get_args(Mode)

current_node: ContextVar[str] = ContextVar("current_node", default="")
"""Id of the node whose code is running, empty outside of any: log handlers sort records by it."""

NAME_PATTERN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")

_HOST_PATTERN = re.compile(r"[A-Za-z0-9.-]+")

_FORMS: tuple[tuple[Mode, Role, re.Pattern[str]], ...] = (
    ("memory", "server", re.compile(r"(?:memory|yaml_fed)_server")),
    ("memory", "client", re.compile(r"(?:memory|yaml)_client_(?P<index>[1-9]\d*)")),
    ("process", "server", re.compile(r"process_server_(?P<port>\d+)")),
    ("process", "client", re.compile(r"process_client_(?P<pid>\d+)_(?P<port>\d+)")),
    ("network", "server", re.compile(r"network_server_(?P<host>[A-Za-z0-9.-]+)_(?P<port>\d+)")),
    (
        "network",
        "client",
        re.compile(r"network_client_(?P<host>[A-Za-z0-9.-]+)_(?P<port>\d+)_(?P<uuid>[0-9a-f]{32})"),
    ),
)


@dataclass(frozen=True, slots=True)
class NodeId:
    """A node id taken apart.

    Attributes:
        text: The id itself.
        mode: Its mode, or None for a name chosen by the user.
        role: Its role, or None for a name chosen by the user.
        parts: The instance parts by name (``index``, ``port``, ``pid``, ``host``, ``uuid``), as text.
    """

    text: str
    mode: Mode | None
    role: Role | None
    parts: dict[str, str]


def check_name(text: str) -> str:
    """Return ``text`` if it may name a node.

    Raises:
        ValueError: It does not match :data:`NAME_PATTERN`; the message says what does.
    """
    if not NAME_PATTERN.fullmatch(text):
        raise ValueError(
            f"{text!r} cannot name a node: use 1 to 128 letters, digits, '_', '.' or '-', "
            "starting with a letter or digit"
        )
    return text


def parse(text: str) -> NodeId:
    """Take a node id apart.

    Raises:
        ValueError: ``text`` may not name a node at all.
    """
    check_name(text)
    for mode, role, pattern in _FORMS:
        match = pattern.fullmatch(text)
        if match:
            return NodeId(text, mode, role, match.groupdict())
    return NodeId(text, None, None, {})


def generate_client_id(mode: Mode, index: int) -> str:
    """Make the id of the ``index``-th client (from 1) of a federation in ``mode`` on this machine.

    Memory ids are determined by the index; process and network ids also carry this process's pid, this
    machine's address and a random uuid, with the index in the place of the port.

    Raises:
        ValueError: The mode is unknown or the index is below 1.
    """
    return IDMapper(mode).client(index)


def get_local_ip() -> str:
    """Return the address this machine would use to reach others, ``127.0.0.1`` where there is none.

    Nothing is sent: connecting a datagram socket only asks the kernel for a route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


class IDMapper:
    """Makes the node ids of one mode.

    Args:
        mode: ``memory``, ``process`` or ``network``.

    Raises:
        ValueError: The mode is unknown.
    """

    def __init__(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}: use one of {', '.join(MODES)}")
        self.mode = mode

    def server(self, *, host: str | None = None, port: int = 0) -> str:
        """Make the server's id; ``host`` (network) defaults to this machine's address.

        Raises:
            ValueError: The host or the port cannot be part of an id.
        """
        _check_port(port)
        if self.mode == "memory":
            return "memory_server"
        if self.mode == "process":
            return f"process_server_{port}"
        return check_name(f"network_server_{_check_host(host or get_local_ip())}_{port}")

    def client(
        self, index: int, *, pid: int | None = None, host: str | None = None, port: int | None = None
    ) -> str:
        """Make the id of the ``index``-th client, from 1.

        Args:
            index: Position of the client in the configuration, from 1.
            pid: Process mode: the client's pid at its first start; defaults to this process's.
            host: Network mode: the client's address; defaults to this machine's.
            port: Process and network mode: the client's port; defaults to ``index``.

        Raises:
            ValueError: The index is below 1, or the host or the port cannot be part of an id.
        """
        if index < 1:
            raise ValueError(f"client index {index} is below 1: clients are counted from 1")
        if self.mode == "memory":
            return f"memory_client_{index}"
        number = _check_port(index if port is None else port)
        if self.mode == "process":
            return f"process_client_{os.getpid() if pid is None else pid}_{number}"
        address = _check_host(host or get_local_ip())
        return check_name(f"network_client_{address}_{number}_{uuid.uuid4().hex}")


def _check_host(host: str) -> str:
    if not _HOST_PATTERN.fullmatch(host):
        raise ValueError(
            f"host {host!r} cannot be part of a node id: "
            "use an IPv4 address or a name of letters, digits, '.' or '-'"
        )
    return host


def _check_port(port: int) -> int:
    if port < 0:
        raise ValueError(f"port {port} is negative")
    return port
