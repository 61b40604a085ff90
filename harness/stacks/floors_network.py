"""Floors of network mode: what bare WebSockets of aiohttp cost over loopback.

The other side is a child process, in a loop of the same kind as the running one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from fedbench.fleet import starting
from fedbench.loop import in_thread, run
from harness.stacks.children import HOST, START_TIMEOUT_S, beside, loop_name, serving, tell_port
from harness.stacks.floors_process import PAYLOAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from multiprocessing.connection import Connection

    from fedbench.loop import LoopName
    from harness.stacks.floors_process import Timed

BROADCAST_BYTES = 10_000
BROADCAST_CLIENTS = 1000
TOGETHER = 100
"""WebSockets that are opened at the same time."""
ACK = b"."


async def ws_echo(count: int) -> list[int]:
    """Time round trips over a bare WebSocket in ns: see :func:`echo_trips`."""
    async with echo_trips() as trips:
        return await trips(count)


@asynccontextmanager
async def echo_trips() -> AsyncIterator[Timed]:
    """Keep an echo of 64 bytes behind a bare WebSocket; it is aiohttp's server in a child.

    Yields:
        Times as many round trips as it is told, in ns.
    """
    async with (
        serving(_echo_main, loop_name()) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(_url(port)) as link,
    ):

        async def trips(count: int) -> list[int]:
            return [await _trip(link) for _ in range(count)]

        yield trips


async def _trip(link: aiohttp.ClientWebSocketResponse) -> int:
    start_ns = time.perf_counter_ns()
    await link.send_bytes(PAYLOAD)
    answer = await link.receive_bytes()
    taken_ns = time.perf_counter_ns() - start_ns
    if answer != PAYLOAD:
        raise RuntimeError(f"the echo brought {len(answer)} bytes that are not those sent")
    return taken_ns


async def ws_broadcast(count: int) -> list[int]:
    """Time broadcasts of 10 KB to 1 000 bare WebSockets in ns: see :func:`ws_broadcasts`."""
    async with ws_broadcasts(BROADCAST_CLIENTS, BROADCAST_BYTES) as broadcasts:
        return await broadcasts(count)


@asynccontextmanager
async def ws_broadcasts(clients: int, nbytes: int) -> AsyncIterator[Timed]:
    """Keep bare WebSockets open, all of one other process.

    Args:
        clients: How many.
        nbytes: Size of one message in bytes.

    Yields:
        Times as many broadcasts as it is told in ns, from the first send to the last acknowledgement.

    Raises:
        TimeoutError: They did not connect within 30 seconds.
    """
    hall = _Hall(clients, nbytes)
    await in_thread(starting.allow_descriptors, clients)
    async with _hosting(hall.serve) as port, beside(_audience_main, port, clients, loop_name()):
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await hall.full
            yield hall.broadcasts
        finally:
            await hall.close()


class _Hall:
    """The server's ends of the sockets of a broadcast.

    Args:
        clients: How many there will be.
        nbytes: Size of one message in bytes.
    """

    def __init__(self, clients: int, nbytes: int) -> None:
        loop = asyncio.get_running_loop()
        self._clients = clients
        self._payload = bytes(nbytes)
        self.full: asyncio.Future[None] = loop.create_future()
        self._links: list[web.WebSocketResponse] = []
        self._missing = 0
        self._closed = False
        self._acked: asyncio.Future[None] = loop.create_future()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse(compress=False)
        await link.prepare(request)
        self._links.append(link)
        if self._closed:
            await link.close()
        if len(self._links) == self._clients and not self.full.done():
            self.full.set_result(None)
        async for _ in link:
            self._missing -= 1
            if not self._missing:
                self._acked.set_result(None)
        return link

    async def broadcasts(self, count: int) -> list[int]:
        return [await self._broadcast() for _ in range(count)]

    async def _broadcast(self) -> int:
        self._acked = asyncio.get_running_loop().create_future()
        self._missing = self._clients
        start_ns = time.perf_counter_ns()
        for link in self._links:
            await link.send_bytes(self._payload)
        await self._acked
        return time.perf_counter_ns() - start_ns

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(link.close() for link in self._links))


@asynccontextmanager
async def _hosting(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """Serve ``handler`` on a free port and give that."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, backlog=1024).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _url(port: int) -> str:
    return f"http://{HOST}:{port}/"


def _echo_main(far: Connection, name: LoopName) -> None:
    run(_serve_echo(far), name)


async def _serve_echo(far: Connection) -> None:
    async with _hosting(_echo) as port:
        await tell_port(far, port)


async def _echo(request: web.Request) -> web.WebSocketResponse:
    link = web.WebSocketResponse(compress=False)
    await link.prepare(request)
    async for message in link:
        await link.send_bytes(message.data)
    return link


def _audience_main(port: int, clients: int, name: LoopName) -> None:
    starting.allow_descriptors(clients)
    run(_listen_all(port, clients), name)


async def _listen_all(port: int, clients: int) -> None:
    opening = asyncio.Semaphore(TOGETHER)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(_listen(session, port, opening) for _ in range(clients)))


async def _listen(session: aiohttp.ClientSession, port: int, opening: asyncio.Semaphore) -> None:
    async with opening:
        link = await session.ws_connect(_url(port))
    async with link:
        async for _ in link:
            await link.send_bytes(ACK)
