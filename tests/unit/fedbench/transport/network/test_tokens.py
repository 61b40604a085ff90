from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from fedbench.throttle import Throttle
from fedbench.transport.network import tokens
from fedbench.transport.network.tokens import (
    EXPIRED,
    LOOK_S,
    MISSING,
    UNKNOWN,
    WITHDRAWN,
    Holder,
    TokenWatch,
    bearer,
    find,
    read_tokens,
)
from tests.fakes.clock import FakeClock
from tests.pace import limit_s

NOON_S = 1893499200.0  # 2030-01-01T12:00:00Z


@pytest.fixture
def token_file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "tokens"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def test_tokens_of_everybody_and_of_one(token_file):
    known = read_tokens(token_file("# a comment\n\neverybodys\nalice sesame\n"))
    assert known == {b"everybodys": Holder(), b"sesame": Holder("alice")}
    assert find(known, "Bearer everybodys", "bob") == b"everybodys"
    assert find(known, "Bearer sesame", "alice") == b"sesame"
    assert find(known, "Bearer sesame", None) == b"sesame"
    for header in (
        "Bearer sesame",
        "Bearer nobodys",
        "everybodys",
        "Bearer ",
        "Basic everybodys",
        None,
        "Bearer ü🙂",
    ):
        assert find(known, header, "bob") is None
    assert bearer({b"sesame": Holder()}) == {"Authorization": "Bearer sesame"}
    assert bearer({}) == {}


@pytest.mark.parametrize(
    "told", ["2030-01-01T12:00:00Z", "2030-01-01T12:00:00+00:00", "2030-01-01T13:30+01:30", "20300101T12Z"]
)
def test_a_token_may_expire_at_a_time_of_any_zone(token_file, told):
    known = read_tokens(token_file(f"alice sesame expires={told}\neverybodys expires={told}\n"))
    assert known == {b"sesame": Holder("alice", NOON_S), b"everybodys": Holder(None, NOON_S)}
    assert not known[b"sesame"].is_expired(NOON_S - 0.001)
    assert known[b"sesame"].is_expired(NOON_S)


@pytest.mark.parametrize(
    "told", ["", "tomorrow", "2030-01-01T12:00:00", "2030-01-01", "1893499200", "\x1b[1m"]
)
def test_a_time_that_is_none_is_named_with_its_line_and_no_token(token_file, told):
    path = token_file(f"# whose\nalice sesame expires={told}\n")
    with pytest.raises(ConfigError) as error:
        read_tokens(path)
    assert str(error.value).startswith(f"the network transport: token_file: line 2 of {path}: expires=")
    assert "is no ISO 8601 time with a zone, like 2030-01-31T12:00:00Z" in str(error.value)
    assert "sesame" not in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(token_file, mode):
    with pytest.raises(ConfigError, match="must be 0600"):
        read_tokens(token_file("secret", mode))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no tokens: give"),
        ("# none\n", "holds no tokens: give"),
        ("\na b c\n", "line 2 of .* is not `<client id> <token>"),
        ("expires=2030-01-01T12:00:00Z\n", "line 1 of .* is not `<client id> <token>"),
        ("a b expires=2030-01-01T12:00:00Z c\n", "line 1 of .* is not `<client id> <token>"),
        ("a" * (1 << 20) + "b", "more than 1 MiB"),
        ("\ufeff# none\n  # of these\n\t#neither\n", "holds no tokens: give"),
        ("alice same\nbob same\n", "line 2 of .* has the token of another client: give each"),
        ("same\nbob same\n", "line 2 of .* has the token of another client: give each"),
    ],
)
def test_a_file_without_usable_tokens_is_refused(token_file, text, reason):
    with pytest.raises(ConfigError, match=reason):
        read_tokens(token_file(text))


def test_a_line_may_be_there_twice_and_end_as_on_other_systems(token_file):
    known = read_tokens(token_file("\ufeffalice sesame\r\nalice sesame expires=2030-01-01T12:00:00Z\r\n"))
    assert known == {b"sesame": Holder("alice", NOON_S)}


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "tokens", 0o600)
    with pytest.raises(ConfigError, match="tokens is no file"):
        read_tokens(str(tmp_path / "tokens"))
    with pytest.raises(ConfigError, match="Is a directory"):
        read_tokens(str(tmp_path))


def test_a_file_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="/nowhere/tokens cannot be read: No such file"):
        read_tokens("/nowhere/tokens")


def test_nobody_elses_file_is_trusted(token_file, monkeypatch):
    path = token_file("secret")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    if os.stat(path).st_uid != 0:
        with pytest.raises(ConfigError, match="must be yours"):
            read_tokens(path)


# A server's file, while it serves -------------------------------------------------------------------------


class Held:
    """A connection that is ended when its token does not count any more."""

    def __init__(self):
        self.closed, self.lost, self.told = False, None, []

    def on_closed(self, callback):
        self.told.append(callback)

    def lose(self, reason):
        self.closed, self.lost = True, reason
        for callback in self.told:
            callback(self, reason)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def watched(token_file, clock):
    """A watch of a file of alice's and bob's tokens."""
    path = token_file("alice sesame\nbob his\n")
    throttle = Throttle(logging.getLogger("fedbench.transport"), clock)
    watch = TokenWatch(path, {b"sesame": Holder("alice"), b"his": Holder("bob")}, clock, throttle)
    watch.wall_s = lambda: NOON_S
    yield watch
    await watch.close()


def held(watch, client_id="alice", token="sesame"):
    connection = Held()
    watch.hold(connection, f"Bearer {token}", client_id)
    return connection


async def test_a_file_that_changes_counts_from_the_next_look_on(watched, token_file):
    alice, bob = held(watched), held(watched, "bob", "his")
    token_file("bob his\ncarol new\n")
    assert watched.refusal("Bearer sesame", "alice", "here") == ""
    await watched.look()
    assert watched.refusal("Bearer sesame", "alice", "here") == UNKNOWN
    assert watched.refusal("Bearer new", "carol", "here") == ""
    assert (alice.lost, bob.lost) == (WITHDRAWN, None)
    token_file("alice his\n")
    await watched.look()
    assert bob.lost == WITHDRAWN


async def test_a_file_that_does_not_change_is_read_once(watched, token_file, monkeypatch):
    await watched.look()
    monkeypatch.setattr(tokens, "SETTLED_S", 0.0)  # it was written long ago
    await watched.look()
    opened = []
    monkeypatch.setattr(tokens, "open", lambda *args: opened.append(args), raising=False)
    await asyncio.gather(*(watched.look() for _ in range(10)))
    assert opened == []
    assert watched.refusal("Bearer sesame", "alice", "here") == ""


async def test_those_who_wait_for_a_look_share_the_next(watched, monkeypatch):
    read, looks = tokens._read, []
    monkeypatch.setattr(tokens, "_read", lambda *args: looks.append(args) or read(*args))
    await asyncio.gather(*(watched.look() for _ in range(10)))
    assert len(looks) == 2  # one that was there first, and one for all who came meanwhile


async def test_a_look_that_was_given_up_is_no_look_of_those_who_wait(watched, monkeypatch):
    read, looks, going = tokens._read, [], threading.Event()

    def slowly(*args):
        looks.append(args)
        going.wait(5)
        return read(*args)

    monkeypatch.setattr(tokens, "_read", slowly)
    first = asyncio.create_task(watched.look())
    async with asyncio.timeout(limit_s(5)):
        while not looks:
            await asyncio.sleep(0.001)
        second, third = asyncio.create_task(watched.look()), asyncio.create_task(watched.look())
        await asyncio.sleep(0)
        going.set()
        await first
        going.clear()
        while len(looks) < 2:
            await asyncio.sleep(0.001)
        second.cancel()
        await asyncio.sleep(0)
        going.set()
        await third
    assert len(looks) == 3


SPOILED = {
    "removed": lambda path: os.unlink(path),
    "open to others": lambda path: os.chmod(path, 0o644),
    "empty": lambda path: os.truncate(path, 0),
    "a folder": lambda path: (os.unlink(path), os.mkdir(path)),
    "malformed": lambda path: Path(path).write_text("a b c d\n"),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_while_a_file_cannot_be_used_that_is_said_and_those_inside_go_on(
    watched, token_file, caplog, how
):
    await watched.look()
    alice = held(watched)
    path = watched._path
    SPOILED[how](path)
    for _ in range(5):
        await watched.look()
    assert watched.problem is not None
    assert alice.lost is None
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.getMessage().startswith("nobody is let in until this is put right: token_file: ")
    assert path in line.getMessage()
    assert "sesame" not in caplog.text
    if os.path.isdir(path):
        os.rmdir(path)
    caplog.set_level(logging.INFO)
    token_file("alice sesame\n")
    await watched.look()
    assert watched.problem is None
    assert alice.lost is None
    assert f"the tokens of {path} are read again" in caplog.text


async def test_who_shows_no_token_or_a_wrong_one_is_refused_and_one_line_says_so(watched, caplog):
    assert watched.refusal(None, "alice", "10.0.0.9") == MISSING
    for header in ("Bearer guessed", "Bearer his"):
        assert watched.refusal(header, "alice", "10.0.0.9") == UNKNOWN
    assert watched.refusal("Basic his", "\x1b[1meve\n", "10.0.0.8") == MISSING
    assert caplog.messages == [
        "refused alice at 10.0.0.9: no token is shown",
        "refused somebody at 10.0.0.8: no token is shown",
    ]


async def test_an_expired_token_is_refused_and_one_line_says_so(watched, token_file, caplog):
    token_file("alice sesame expires=2030-01-01T12:00:00Z\n")
    await watched.look()
    for _ in range(10):
        assert watched.refusal("Bearer sesame", "alice", "10.0.0.1") == EXPIRED
    watched.wall_s = lambda: NOON_S - 1
    assert watched.refusal("Bearer sesame", "alice", "10.0.0.1") == ""
    assert [record.getMessage() for record in caplog.records] == [
        "refused alice at 10.0.0.1: the token has expired"
    ]


async def ticked(watch, clock):
    clock.advance(LOOK_S)
    while watch._ticking is not None:
        await asyncio.sleep(0)


async def test_a_connection_ends_when_its_token_expires_without_any_handshake(watched, token_file, clock):
    token_file("alice sesame expires=2030-01-01T12:00:00Z\nbob his\n")
    watched.wall_s = lambda: NOON_S - 1
    alice, bob = held(watched), held(watched, "bob", "his")
    await ticked(watched, clock)
    assert alice.lost is None
    watched.wall_s = lambda: NOON_S
    await ticked(watched, clock)
    assert (alice.lost, bob.lost) == ("its token has expired", None)


async def test_a_connection_ends_when_its_token_is_taken_out_without_any_handshake(
    watched, token_file, clock
):
    alice, bob = held(watched), held(watched, "bob", "his")
    token_file("bob his\n")
    await ticked(watched, clock)
    assert (alice.lost, bob.lost) == (WITHDRAWN, None)
    bob.lose("gone")
    await ticked(watched, clock)
    assert clock.pending == 0  # nobody is held: nothing ticks


async def test_who_begins_with_a_token_that_was_taken_out_meanwhile_is_ended(watched):
    assert held(watched, "alice", "other").lost == WITHDRAWN


async def test_closing_ends_a_look_that_is_under_way(watched, clock):
    held(watched)
    clock.advance(LOOK_S)
    await watched.close()
    await watched.close()
    assert clock.pending == 0
