"""Who may speak to whom, and proves it how: addresses and certificates; :mod:`.tokens` has the tokens."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.errors import ConfigError, Problem
from fedbench.netsettings import EXPOSED, is_exposed
from fedbench.transport.network.tokens import Tokens, read_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.netsettings import NetworkSettings, TlsSettings


class Credentials(NamedTuple):
    """What a node proves itself with, and checks others by.

    Attributes:
        context: TLS, None to speak without.
        tokens: On a server, who may show each token; on a client the one that it shows. Empty for no tokens.
    """

    context: ssl.SSLContext | None
    tokens: Tokens


def check_exposure(settings: NetworkSettings) -> None:
    """Refuse to speak in the clear where others can listen.

    Raises:
        ConfigError: The address is not loopback, there is no TLS, and ``insecure`` does not allow it.
    """
    if is_exposed(settings):
        raise _wrong("host", EXPOSED.format(settings.host))


def load(settings: NetworkSettings, *, server: bool) -> Credentials:
    """Read certificates and tokens from their files.

    Raises:
        ConfigError: As for :func:`check_exposure`, or a file is missing, wrong, or open to others.
    """
    check_exposure(settings)
    context = None
    if settings.tls is not None:
        context = _context(settings.tls, server=server)
    tokens: Tokens = {}
    if settings.token_file is not None:
        tokens = read_tokens(settings.token_file)
        if not server and len(tokens) != 1:
            raise _wrong(
                "token_file", f"{settings.token_file} holds {len(tokens)} tokens: a client shows one"
            )
    return Credentials(context, tokens)


def certified_names(certificate: Mapping[str, Any]) -> set[str]:
    """Return the names that a peer's certificate, as ``getpeercert`` returns it, proves."""
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    for part in certificate.get("subject", ()):
        names |= {value for key, value in part if key == "commonName"}
    return names


def _context(tls: TlsSettings, *, server: bool) -> ssl.SSLContext:
    if server and tls.cert is None:
        raise _wrong("tls.cert", "is missing: a server needs a certificate")
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise _wrong("tls", f"cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server and tls.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _wrong(path: str, message: str) -> ConfigError:
    return ConfigError("the network transport", [Problem(path, message)])
