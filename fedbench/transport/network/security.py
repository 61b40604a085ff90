"""Who may speak to whom, and proves it how: addresses, certificates and tokens."""

from __future__ import annotations

import os
import ssl
import stat
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.errors import ConfigError, Problem
from fedbench.netsettings import EXPOSED, is_exposed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.netsettings import NetworkSettings, TlsSettings

MAX_TOKEN_FILE_BYTES = 1 << 20
SCHEME = "Bearer "


class Credentials(NamedTuple):
    """What a node proves itself with, and checks others by.

    Attributes:
        context: TLS, None to speak without.
        tokens: On a server, who may show each token, None for everybody; on a client the one that it shows.
            Empty for no tokens.
    """

    context: ssl.SSLContext | None
    tokens: Mapping[bytes, str | None]


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
    tokens: Mapping[bytes, str | None] = {}
    if settings.token_file is not None:
        tokens = read_tokens(settings.token_file)
        if not server and len(tokens) != 1:
            raise _wrong(
                "token_file", f"{settings.token_file} holds {len(tokens)} tokens: a client shows one"
            )
    return Credentials(context, tokens)


def read_tokens(path: str) -> dict[bytes, str | None]:
    """Return the tokens of a file, each with the one client that may show it, None for everybody.

    A line is ``token`` or ``client_id token``; empty lines and those that begin with ``#`` mean nothing.

    Raises:
        ConfigError: It cannot be read, somebody else could read it, or it holds none.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_TOKEN_FILE_BYTES + 1)
    except OSError as error:
        raise _wrong("token_file", f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in (0, os.getuid()):
        raise _wrong("token_file", f"{path} is open to others: its mode must be 0600, and it must be yours")
    tokens: dict[bytes, str | None] = {}
    for line in data.splitlines():
        words = [] if line.startswith(b"#") else line.split()
        if words:
            tokens[words[-1]] = words[0].decode(errors="replace") if len(words) > 1 else None
        if len(words) > 2:
            raise _wrong("token_file", f"{path} has a line of more than a client id and a token")
    if not tokens or len(data) > MAX_TOKEN_FILE_BYTES:
        raise _wrong("token_file", f"{path} holds no tokens, or more than 1 MiB")
    return tokens


def bearer(tokens: Mapping[bytes, str | None]) -> dict[str, str]:
    """Return the header that shows a client's token; none if it has none."""
    token = next(iter(tokens), None)
    return {} if token is None else {"Authorization": SCHEME + token.decode("latin-1")}


def is_allowed(tokens: Mapping[bytes, str | None], header: str | None, client_id: str | None) -> bool:
    """Whether a header shows a token that ``client_id`` (None for no node) may show.

    It takes the same time for every token.
    """
    if not tokens:
        return True
    shown = (header or "").removeprefix(SCHEME).encode("latin-1", errors="replace")
    found = False
    for token, owner in tokens.items():
        found |= compare_digest(token, shown) & (owner is None or client_id in (None, owner))
    return found and (header or "").startswith(SCHEME)


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
