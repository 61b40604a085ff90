"""How a node is reached over a network, and how that is read from a configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedbench.configfile import Section

LEAST_S = 1e-3
MOST_S = 1e6
"""Between them lie a heartbeat and a window."""
OF_SERVER = "its server says it to a client that connects: set it in server.transport"
EXPOSED = "{!r} is not loopback: set tls, or insecure: true if nobody else can reach it"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Certificates, as paths of PEM files.

    Attributes:
        cert: This node's certificate, with its chain; None for a client that shows none.
        key: Its key; None if it lies in the same file.
        ca: Authorities that the other side's certificate must come from. On a server it makes every client
            show one (mTLS); a client without it trusts the authorities of its system.
    """

    cert: str | None = None
    key: str | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where the server of a federation is, and on which terms it is spoken to.

    Attributes:
        host: Address that the server listens at and clients dial.
        port: Its port; 0 on a server for any that is free.
        tls: Certificates, None to speak without TLS.
        token_file: File of mode 0600 with the tokens that a server takes, one a line, or the one that a
            client shows; None for none. A line is ``[<client id>] <token> [expires=<ISO 8601 time>]``.
        insecure: Allows addresses other than loopback without TLS.
        heartbeat_s: A link that is silent for 1.5 times as long is cut, in seconds. The server's counts:
            clients are told it when they connect, and their own means nothing.
        resume_window_s: How long a session outlives its link, in seconds; the server's, too.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: TlsSettings | None = None
    token_file: str | None = None
    insecure: bool = False
    heartbeat_s: float = 30.0
    resume_window_s: float = 60.0


def read_network(section: Section, server: NetworkSettings | None = None) -> NetworkSettings:
    """Read the settings from a section ``transport``; its type is read elsewhere.

    Args:
        section: The section.
        server: For a client: what its server's section says. What the client's own does not, is taken from
            there; of its certificates only the authorities. The heartbeat and the window are no client's
            to set.
    """
    known = server or NetworkSettings()
    settings = NetworkSettings(
        section.string("host", known.host),
        section.integer("port", known.port, least=0, most=65535),
        _read_tls(section, known.tls),
        section.string("token_file", known.token_file or "") or None,
        section.boolean("insecure", default=known.insecure),
        _read_time(section, "heartbeat_s", known.heartbeat_s, client=server is not None),
        _read_time(section, "resume_window_s", known.resume_window_s, client=server is not None),
    )
    if is_exposed(settings) and (server is None or not is_exposed(server)):
        section.problem("host", EXPOSED.format(settings.host))
    return settings


def is_loopback(host: str) -> bool:
    """Whether an address is reached from its own machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_exposed(settings: NetworkSettings) -> bool:
    """Whether others could listen, and nothing says that they may."""
    return settings.tls is None and not settings.insecure and not is_loopback(settings.host)


def _read_time(section: Section, name: str, known_s: float, *, client: bool) -> float:
    if not client:
        return section.number(name, known_s, above=LEAST_S, most=MOST_S)
    if section.value(name) is not None:
        section.problem(name, OF_SERVER)
    return known_s


def _read_tls(section: Section, servers: TlsSettings | None) -> TlsSettings | None:
    if section.value("tls") is None:
        return None if servers is None else TlsSettings(ca=servers.ca)
    tls = section.section("tls")
    settings = TlsSettings(*(tls.string(name, "") or None for name in ("cert", "key", "ca")))
    tls.finish()
    return settings
