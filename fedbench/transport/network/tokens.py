"""Tokens: who may show which, until when; read again whenever their file has changed."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from codecs import BOM_UTF8
from contextlib import suppress
from datetime import datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem
from fedbench.ids import NAME_PATTERN
from fedbench.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedbench.clock import Clock, Timer
    from fedbench.throttle import Throttle
    from fedbench.transport.connection import Connection
    from fedbench.transport.network.connection import NetworkConnection

log = logging.getLogger("fedbench.transport")

MAX_TOKEN_FILE_BYTES = 1 << 20
SCHEME = "Bearer "
EXPIRES = b"expires="
LOOK_S = 5.0
"""So often is the file looked at without a handshake, for the sake of connections that run."""
SETTLED_S = 0.1
"""A file that was changed less than this before it was read may change again with the same times."""

MISSING = "no token is shown"
UNKNOWN = "no such token is known"
EXPIRED = "the token has expired"
WITHDRAWN = "its token is not known any more"

_Stamp = tuple[int, ...]


class Holder(NamedTuple):
    """Who may show a token, and until when.

    Attributes:
        owner: The one client that may show it, None for everybody.
        expires_s: When it expires, in seconds of Unix time; None for never.
    """

    owner: str | None = None
    expires_s: float | None = None

    def is_expired(self, now_s: float) -> bool:
        """Whether it has expired at a time."""
        return self.expires_s is not None and now_s >= self.expires_s


Tokens = dict[bytes, Holder]


def read_tokens(path: str) -> Tokens:
    """Return the tokens of a file, each with who may show it.

    A line is ``token`` or ``client_id token``, and behind them ``expires=2030-01-31T12:00:00Z`` if it is to;
    empty lines and those that begin with ``#`` mean nothing. A token of two lines is that of the last.

    Raises:
        ConfigError: It cannot be read, somebody else could read it, a line is wrong or gives somebody the
            token of somebody else, or it holds no token.
    """
    return _read(path)[1]


def bearer(tokens: Mapping[bytes, Holder]) -> dict[str, str]:
    """Return the header that shows a client's token; none if it has none."""
    token = next(iter(tokens), None)
    return {} if token is None else {"Authorization": SCHEME + token.decode("latin-1")}


def find(tokens: Mapping[bytes, Holder], header: str | None, client_id: str | None) -> bytes | None:
    """Return the token that a header shows and that ``client_id`` (None for no node) may show; None if none.

    It takes the same time for every token.
    """
    shown = (header or "").removeprefix(SCHEME).encode("latin-1", errors="replace")
    found = None
    for token, holder in tokens.items():
        if compare_digest(token, shown) & (holder.owner is None or client_id in (None, holder.owner)):
            found = token
    return found if (header or "").startswith(SCHEME) else None


class TokenWatch:
    """The tokens of a server. A changed file counts from the next handshake on.

    It is looked at before each handshake and every 5 seconds. A connection whose token is not in it any more,
    or has expired, is ended then. A file that cannot be used lets nobody in until it is put right; who is in
    stays, as long as the tokens last read allow it.

    Args:
        path: The file.
        tokens: What it held when it was read first.
        clock: Time.
        throttle: Logs what happens again and again.

    Attributes:
        wall_s: Returns the Unix time, in seconds; tests hand in their own.
        problem: Why the file cannot be used, None if it can.
    """

    def __init__(self, path: str, tokens: Tokens, clock: Clock, throttle: Throttle) -> None:
        self.wall_s: Callable[[], float] = time.time
        self.problem: ConfigError | None = None
        self._path = path
        self._tokens = tokens
        self._clock = clock
        self._throttle = throttle
        self._stamp: _Stamp | None = None
        self._looking = asyncio.Lock()
        self._begun = self._done = 0  # the last look that was begun, and that was not given up
        self._held: dict[Connection, tuple[NetworkConnection, bytes, str]] = {}
        self._timer: Timer | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Read the file again if it has changed, and end connections that it does not allow any more."""
        begun = self._begun
        async with self._looking:
            if self._done > begun:
                return  # somebody else has looked, and begun to after this was called
            self._begun += 1
            try:
                stamp, tokens = await in_thread(_read, self._path, self._stamp)
                self._done = self._begun
            except ConfigError as error:
                self._done = self._begun
                self._stamp = None
                self.problem = error
                text = "nobody is let in until this is put right: %s"
                self._throttle.log(logging.ERROR, ("tokens", str(error)), text, error.problems[0])
                return
        if self.problem is not None or (self._stamp is not None and tokens and tokens != self._tokens):
            log.info("the tokens of %s are read again", self._path)
        self.problem = None
        self._stamp = stamp
        if tokens and tokens != self._tokens:
            self._tokens = tokens
            self._end_withdrawn()

    def refusal(self, header: str | None, client_id: str | None, remote: str | None) -> str:
        """Return why a header does not let ``client_id`` (None for no node) in, empty if it does.

        Args:
            header: What it shows.
            client_id: Who it says it is.
            remote: Its address, to be logged.
        """
        token = find(self._tokens, header, client_id)
        if token is None:
            why = UNKNOWN if (header or "").startswith(SCHEME) else MISSING
            who = client_id if NAME_PATTERN.fullmatch(client_id or "") else "somebody"
            self._throttle.warning((UNKNOWN, remote), "refused %s at %s: %s", who, remote, why)
            return why
        holder = self._tokens[token]
        if holder.is_expired(self.wall_s()):
            who = holder.owner or "a client"
            self._throttle.warning((EXPIRED, who), "refused %s at %s: %s", who, remote, EXPIRED)
            return EXPIRED
        return ""

    def hold(self, connection: NetworkConnection, header: str | None, client_id: str) -> None:
        """End ``connection`` when the token, with which ``client_id`` has come, does not count any more."""
        token = find(self._tokens, header, client_id)
        if token is None:
            connection.lose(WITHDRAWN)
        if token is None or connection.closed:
            return
        if connection not in self._held:
            connection.on_closed(self._let_go)
        self._held[connection] = connection, token, client_id
        if self._timer is None and self._ticking is None:
            self._timer = self._clock.call_later(LOOK_S, self._tick)

    async def close(self) -> None:
        """Look no more; idempotent."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking

    def _let_go(self, connection: Connection, reason: Exception) -> None:
        self._held.pop(connection, None)

    def _tick(self) -> None:
        self._timer = None
        if self._held:
            self._ticking = asyncio.get_running_loop().create_task(self._look_late())

    async def _look_late(self) -> None:
        try:
            await self.look()
        finally:  # whatever became of the look, nobody stays beyond a token's time
            self._ticking = None
            self._end_withdrawn()
            if self._held:
                self._timer = self._clock.call_later(LOOK_S, self._tick)

    def _end_withdrawn(self) -> None:
        now_s = self.wall_s()
        for connection, token, client_id in list(self._held.values()):
            holder = self._tokens.get(token)
            if holder is None or holder.owner not in (None, client_id):
                connection.lose(WITHDRAWN)
            elif holder.is_expired(now_s):
                connection.lose("its token has expired")


def _read(path: str, known: _Stamp | None = None) -> tuple[_Stamp | None, Tokens]:
    """Return what tells a file from a changed one (None if that is too fresh to tell), and its tokens.

    There are no tokens if it is still as ``known``, which one look at its folder tells.
    """
    try:
        if known is not None and _stamp(os.stat(path)) == known:
            return known, {}
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _wrong(f"{path} is no file")
            if status.st_mode & 0o077 or status.st_uid not in (0, os.getuid()):
                raise _open_to_others(path)
            data = file.read(MAX_TOKEN_FILE_BYTES + 1)
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_TOKEN_FILE_BYTES:
        raise _wrong(f"{path} holds more than 1 MiB")
    tokens: Tokens = {}
    for number, line in enumerate(data.removeprefix(BOM_UTF8).splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith(b"#"):
            where = f"line {number} of {path}"
            token, holder = _parse(words, where)
            if tokens.get(token, holder).owner != holder.owner:
                raise _wrong(f"{where} has the token of another client: give each a token of its own")
            tokens[token] = holder
    if not tokens:
        raise _wrong(f"{path} holds no tokens: give a line with one to each client")
    settled = time.time() - status.st_ctime >= SETTLED_S
    return _stamp(status) if settled else None, tokens


def _open(path: str, flags: int) -> int:
    """Open a file; a pipe in its place is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _parse(words: list[bytes], where: str) -> tuple[bytes, Holder]:
    expires_s = None
    if words[-1].startswith(EXPIRES):
        expires_s = _parse_time(words.pop()[len(EXPIRES) :].decode(errors="replace"), where)
    if not 1 <= len(words) <= 2:
        raise _wrong(f"{where} is not `<client id> <token> [expires=<time>]`, or a token alone")
    owner = words[0].decode(errors="replace") if len(words) == 2 else None
    return words[-1], Holder(owner, expires_s)


def _parse_time(text: str, where: str) -> float:
    try:
        told = datetime.fromisoformat(text)
        if told.tzinfo is not None:
            return told.timestamp()
    except (ValueError, OverflowError):
        pass
    raise _wrong(f"{where}: expires={text!r} is no ISO 8601 time with a zone, like 2030-01-31T12:00:00Z")


def _stamp(status: os.stat_result) -> _Stamp:
    times = status.st_mtime_ns, status.st_ctime_ns
    return (*times, status.st_size, status.st_dev, status.st_ino, status.st_mode, status.st_uid)


def _open_to_others(path: str) -> ConfigError:
    return _wrong(f"{path} is open to others: its mode must be 0600, and it must be yours")


def _wrong(message: str) -> ConfigError:
    return ConfigError("the network transport", [Problem("token_file", message)])
