from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from fedbench.errors import RoutingError
from fedbench.netsettings import NetworkSettings
from fedbench.transport.network import dialling
from fedbench.transport.network.dialling import Dialler, SessionOver
from fedbench.transport.network.handshake import PROTOCOL, Hello
from fedbench.transport.network.security import Credentials
from tests.unit.fedbench.transport.network.conftest import CLIENT, SERVER, within


def hello(**changes):
    return Hello(PROTOCOL, CLIENT, "client", SERVER, "clock", 1, **changes)


@pytest.fixture
async def dial():
    made = []

    async def run(port, said=None):
        dialler = Dialler(NetworkSettings(port=port), Credentials(None, {}))
        made.append(dialler)
        return await within(dialler.dial(said or hello()))

    yield run
    for dialler in made:
        await dialler.close()


async def test_the_answer_tells_of_the_session(net, dial):
    answer = await dial(net.server.port)
    assert (answer.welcome.epoch, len(answer.welcome.session)) == (1, 16)
    answer.socket.abort()


async def test_nobody_there_is_named(net, dial):
    port = net.server.port
    await net.server.close()
    with pytest.raises(RoutingError, match=f"{SERVER}.*http://127.0.0.1:{port} cannot be reached"):
        await dial(port)


async def test_a_session_that_is_over_is_told_apart(net, dial):
    with pytest.raises(SessionOver, match="knows no such session"):
        await dial(net.server.port, hello(session=b"x" * 16))


async def test_what_is_no_fedbench_server_is_named(dial):
    async def echo(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async def missing(request):
        return web.Response(status=418)

    app = web.Application()
    app.router.add_get("/ws/alice", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site.port
    try:
        with pytest.raises(RoutingError, match="is no fedbench server"):
            await dial(port)
        with pytest.raises(RoutingError, match="HTTP status 404"):
            await dial(port, Hello(PROTOCOL, "bob", "client", SERVER, "clock", 1))
    finally:
        await runner.cleanup()


async def test_a_server_that_does_not_answer_is_named(dial, monkeypatch):
    monkeypatch.setattr(dialling, "DIAL_S", 0.05)
    writers = []
    silent = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(RoutingError, match=r"did not answer within 0\.05 s"):
        await dial(port)
    silent.close()
    for writer in writers:
        writer.transport.abort()


def test_addresses_of_ipv6_are_written_in_brackets():
    async def url():
        dialler = Dialler(NetworkSettings(host="::1", port=5), Credentials(None, {}))
        await dialler.close()
        return dialler.url

    assert asyncio.run(url()) == "http://[::1]:5"
