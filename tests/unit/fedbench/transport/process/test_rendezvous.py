"""Rendezvous: nodes find each other by id, and everybody else is turned away by name."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket

import msgspec
import pytest

from fedbench.errors import RoutingError
from fedbench.transport.process import rendezvous
from fedbench.transport.process.rendezvous import PROTOCOL, Hello, Listener, Meeting, address, meet

_numbers = itertools.count()


class Host:
    """A listener that counts epochs and keeps whom it met."""

    def __init__(self, refuse: str = "") -> None:
        self.exchange = f"rendezvous-{next(_numbers)}"
        self.met: list[tuple[Hello, Meeting]] = []
        self._refuse = refuse
        self.listener = Listener(self.exchange, "host", self._admit, lambda *pair: self.met.append(pair))

    def _admit(self, hello: Hello) -> int:
        if self._refuse:
            raise RoutingError(hello.source, hello.target, self._refuse)
        return len(self.met) + 1

    def close(self) -> None:
        self.listener.close()
        for _, meeting in self.met:
            close(meeting)


def close(meeting: Meeting) -> None:
    os.close(meeting.peer.read_fd)
    os.close(meeting.peer.write_fd)
    meeting.peer.abandon()


@pytest.fixture
async def host():
    made = Host()
    yield made
    made.close()


def hello(target="host", source="guest", protocol=PROTOCOL) -> Hello:
    return Hello(protocol, source, "client", target)


async def test_both_sides_get_a_queue_for_each_direction(host):
    mine = await meet(host.exchange, hello())
    [(seen, theirs)] = host.met
    assert seen == hello()
    assert mine.epoch == theirs.epoch == 1
    assert mine.peer.pid == theirs.peer.pid == os.getpid()
    os.write(mine.peer.write_fd, b"up")
    os.write(theirs.peer.write_fd, b"down")
    assert os.read(theirs.peer.read_fd, 10) == b"up"
    assert os.read(mine.peer.read_fd, 10) == b"down"
    with pytest.raises(BlockingIOError):
        os.read(mine.peer.read_fd, 10)
    assert not os.get_inheritable(mine.peer.read_fd)
    again = await meet(host.exchange, hello())
    assert again.epoch == 2
    close(mine)
    close(again)


async def test_a_node_that_does_not_listen_is_named(host):
    with pytest.raises(RoutingError, match="'guest' to 'nobody': no such node listens"):
        await meet(host.exchange, hello("nobody"))
    with pytest.raises(RoutingError, match="no such node listens"):
        await meet(host.exchange + "x", hello())


async def test_an_id_is_taken_once(host):
    with pytest.raises(RoutingError, match="another node of this exchange has the same id"):
        Listener(host.exchange, "host", host._admit, lambda *pair: None)


async def test_a_refusal_tells_its_reason():
    host = Host(refuse="not today")
    with pytest.raises(RoutingError, match="not today"):
        await meet(host.exchange, hello())
    host.close()
    assert host.met == []


@pytest.mark.parametrize(
    ("strange", "named"),
    [(hello(protocol=99), f"speaks protocol {PROTOCOL}")],
)
async def test_another_protocol_is_refused(host, strange, named):
    with pytest.raises(RoutingError, match=named):
        await meet(host.exchange, strange)


@pytest.mark.parametrize(
    "data", [b"rubbish", b"", msgspec.msgpack.encode(Hello(PROTOCOL, "../x", "client", "host")), b"\x90"]
)
async def test_rubbish_is_hung_up_on_and_the_next_is_served(host, data):
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stranger.connect(address(host.exchange, "host"))
    if data:
        stranger.send(data)
    else:
        stranger.close()
    mine = await meet(host.exchange, hello())
    assert len(host.met) == 1
    stranger.close()
    close(mine)


async def test_a_process_of_another_user_is_hung_up_on(host, monkeypatch):
    monkeypatch.setattr(rendezvous, "_credentials", lambda connected: (os.getpid(), os.getuid() + 1))
    with pytest.raises(RoutingError, match="it hung up"):
        await meet(host.exchange, hello())
    assert host.met == []


async def test_one_that_does_not_answer_is_given_up(host, monkeypatch):
    monkeypatch.setattr(rendezvous, "HANDSHAKE_TIMEOUT_S", 0.01)
    asyncio.get_running_loop().remove_reader(host.listener._socket)
    with pytest.raises(RoutingError, match=r"did not answer within 0\.01 s"):
        await meet(host.exchange, hello())


async def test_without_descriptors_the_guest_is_told(host, monkeypatch):
    def exhausted():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(rendezvous, "_pipes", exhausted)
    with pytest.raises(RoutingError, match=r"no queue could be made: .*Too many open files"):
        await meet(host.exchange, hello())
    assert host.met == []


async def test_without_descriptors_nobody_is_accepted_for_a_while_and_then_served(host, monkeypatch, caplog):
    monkeypatch.setattr(rendezvous, "RETRY_S", 0.2)
    real, tries = host.listener._socket, []

    class Exhausted:
        def accept(self):
            tries.append(1)
            raise OSError(24, "Too many open files")

        def fileno(self):
            return real.fileno()

    host.listener._socket = Exhausted()
    meeting = asyncio.ensure_future(meet(host.exchange, hello()))
    while not tries:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(tries) == 1
    host.listener._socket = real
    close(await meeting)
    assert "takes no connections for 0.2 s: [Errno 24]" in caplog.text


async def test_one_that_does_not_say_who_it_is_is_hung_up_on(host, monkeypatch):
    monkeypatch.setattr(rendezvous, "HANDSHAKE_TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(address(host.exchange, "host"))
        while not host.listener._greeting:
            await asyncio.sleep(0)
        while host.listener._greeting:
            await asyncio.sleep(0.005)
        assert silent.recv(10) == b""


async def test_a_peer_that_died_meanwhile_leaves_nothing(host, monkeypatch):
    def gone(pid, connected):
        raise ProcessLookupError(pid)

    monkeypatch.setattr(rendezvous, "_pidfd", gone)
    with pytest.raises(RoutingError, match="it hung up"):
        await meet(host.exchange, hello())
    assert host.met == []


async def test_cancelling_leaves_nothing_behind(host):
    asyncio.get_running_loop().remove_reader(host.listener._socket)
    meeting = asyncio.create_task(meet(host.exchange, hello()))
    await asyncio.sleep(0)
    meeting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await meeting
