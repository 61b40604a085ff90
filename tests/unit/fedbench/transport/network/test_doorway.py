from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from errno import EMFILE

import pytest
import trustme

from fedbench.throttle import Throttle
from fedbench.transport.network import doorway
from fedbench.transport.network.doorway import Doorway, Terms
from tests.fakes.clock import FakeClock
from tests.fakes.stranger import Stranger
from tests.pace import limit_s
from tests.unit.fedbench.transport.network.conftest import within

MOST = 4


class Guard(asyncio.Protocol):
    """Hears what comes.

    Attributes:
        transport: Its socket, once there is one.
        lost: Done when that is lost.
    """

    def __init__(self):
        self.transport = None
        self.heard = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.heard += data

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class House:
    """A doorway, those who have come through it, and what was said of them."""

    def __init__(self, context=None, deadline_s=5.0):
        self.made, self.strangers = [], []
        self.throttle = Throttle(logging.getLogger("fedbench.transport"), FakeClock())
        self.doorway = Doorway(self.make, Terms(context, deadline_s, lambda: MOST), self.throttle)

    def make(self):
        self.made.append(Guard())
        return self.made[-1]

    async def come(self):
        """Return a connection, and what speaks on it at the other end."""
        number = len(self.made)
        stranger = await Stranger.dial(self.port)
        self.strangers.append(stranger)
        async with asyncio.timeout(limit_s(5)):
            while len(self.made) == number or self.made[number].transport is None:
                await asyncio.sleep(0)
        return stranger, self.made[number]

    async def close(self):
        await self.doorway.close()
        for stranger in self.strangers:
            await stranger.close()
        for guard in self.made:
            if guard.transport is not None:
                guard.transport.abort()
                await guard.lost


@pytest.fixture
async def open_house():
    houses = []

    async def make(*args):
        houses.append(House(*args))
        houses[-1].port = await houses[-1].doorway.listen("127.0.0.1", 0)
        return houses[-1]

    yield make
    for house in houses:
        await house.close()


async def test_of_too_many_strangers_the_oldest_is_cut_and_one_line_says_so(open_house, caplog):
    house = await open_house()
    came = [await house.come() for _ in range(3 * MOST)]
    for stranger, guard in came[:-MOST]:
        await within(stranger.cut())
        await within(guard.lost)
    assert not any(guard.lost.done() for _, guard in came[-MOST:])
    (line,) = caplog.records
    assert (
        line.getMessage() == f"{MOST} connections do not say who they are: the oldest is cut for the newest"
    )
    assert line.levelno == logging.WARNING


async def test_who_is_let_in_is_no_stranger_any_more(open_house):
    house = await open_house()
    inside, guard = await house.come()
    house.doorway.let_in(guard)
    house.doorway.let_in(guard)
    for _ in range(3 * MOST):
        await house.come()
    await inside.send(b"there")
    async with asyncio.timeout(limit_s(5)):
        while guard.heard != b"there":
            await asyncio.sleep(0)


async def test_who_has_gone_is_not_counted(open_house, caplog):
    house = await open_house()
    for _ in range(3 * MOST):
        stranger, guard = await house.come()
        await stranger.close()
        await within(guard.lost)
        house.doorway._cleared_s = 0.0
    assert caplog.records == []


async def test_a_stranger_that_asks_for_nothing_is_cut_at_its_deadline(open_house):
    house = await open_house(None, 0.05)
    silent, _ = await house.come()
    asking, guard = await house.come()
    house.doorway.asked(guard)
    await within(silent.cut())
    await asyncio.sleep(0.12)  # for what must not come
    assert not guard.lost.done()
    await asking.close()
    await within(guard.lost)
    async with asyncio.timeout(limit_s(5)):
        while house.doorway._strangers:
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_strangers_are_cut_in_the_middle_of_a_tls_handshake_too(open_house, contexts):
    server, client = contexts
    house = await open_house(server)
    silent = [await Stranger.dial(house.port) for _ in range(3 * MOST)]
    real = await within(Stranger.dial(house.port, client))
    await real.send(b"there")
    for stranger in silent[: 2 * MOST]:
        await within(stranger.cut())
    await within(house.doorway.close())
    for stranger in (*silent, real):
        await within(stranger.cut() if stranger is not real else stranger.close())
        await stranger.close()


async def test_without_a_descriptor_left_it_pauses_and_goes_on(open_house, monkeypatch, caplog):
    monkeypatch.setattr(doorway, "PAUSE_S", 0.01)
    house = await open_house()
    oldest, _ = await house.come()
    failing = [OSError(EMFILE, "Too many open files")]
    take = house.doorway._listening[0]

    class Listening:
        def accept(self):
            raise failing.pop()

    house.doorway._take(Listening())
    await within(oldest.cut())
    assert "takes no connections for 0.01 s: Too many open files" in caplog.text
    await house.come()
    assert take in house.doorway._listening


async def test_an_address_in_use_or_of_nobody_is_not_listened_at(open_house):
    house = await open_house()
    other = House()
    with pytest.raises(OSError, match="in use"):
        await other.doorway.listen("127.0.0.1", house.port)
    with pytest.raises(socket.gaierror):
        await other.doorway.listen("nobody.invalid", 0)
    await other.close()


async def test_of_the_addresses_of_a_name_those_of_this_machine_are_listened_at(monkeypatch):
    found = []

    async def getaddrinfo(host, port, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    house = House()
    found[:] = ["192.0.2.1", "127.0.0.1"]  # as localhost has ::1 where IPv6 is switched off
    port = await house.doorway.listen("twofold", 0)
    (listening,) = house.doorway._listening
    assert listening.getsockname() == ("127.0.0.1", port)
    house.doorway.stop()
    found[:] = ["192.0.2.1"]
    with pytest.raises(OSError, match="no such address can be listened at"):
        await house.doorway.listen("nobodys", 0)
    await house.close()


async def test_both_families_of_a_name_are_listened_at():
    house = House()
    await house.doorway.listen("", 0)
    families = {listening.family for listening in house.doorway._listening}
    assert socket.AF_INET in families
    house.doorway.stop()
    house.doorway.stop()
    await house.close()
