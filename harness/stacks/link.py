"""A link that is slow, loses segments and can be cut: a TCP proxy of this machine, in a process of its own.

Theory of operation. Clients connect to the proxy, which connects to the server and passes bytes on. A proxy
sees a byte stream, so it cannot lose a segment where anybody would notice. It shows what TCP makes of a
loss instead: the bytes of a lost segment, and all behind them, come later by the time that a retransmission
takes. That is one round trip if at least three later segments of the same burst tell the sender (fast
retransmit, RFC 5681), else the retransmission timeout: at least 200 ms on Linux, on top of the round trip.
What a proxy cannot show is the smaller congestion window after a loss, so bulk transfers look better here
than they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedbench.fleet import starting
from fedbench.loop import in_thread, run
from harness.stacks.children import HOST, loop_name, serving, tell_port

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from fedbench.loop import LoopName

SEGMENT_BYTES = 1448
"""Payload of a TCP segment on Ethernet with timestamps."""
LEAST_TIMEOUT_S = 0.2
"""Least retransmission timeout of Linux (``TCP_RTO_MIN``), in seconds."""
FAST_AFTER = 3
"""Segments behind a lost one that make its sender repeat it at once."""
_NO_LINGER = struct.pack("ii", 1, 0)
CHUNK_BYTES = 1 << 16
CHUNKS = 64
"""Chunks under way in one direction of one connection; the sender waits when there are more."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link does to the bytes.

    Attributes:
        delay_s: Delay in each direction, in seconds.
        loss: Share of the segments that is lost.
        seed: Decides which; both directions of every connection draw from generators of their own.

    Raises:
        ValueError: The delay is negative, or the share is not below 1.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s < math.inf:
            raise ValueError(f"delay_s is {self.delay_s}: it must be at least 0")
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss is {self.loss}: it must be at least 0 and below 1")


class Line:
    """One direction of one connection: when bytes that come in go out. Pure.

    Args:
        link: What the link does.
        rng: Decides which segments are lost.
    """

    def __init__(self, link: Link, rng: random.Random) -> None:
        self._link = link
        self._rng = rng
        self._last_s = 0.0

    def due_s(self, now_s: float, size: int) -> float:
        """Return when ``size`` bytes that came at ``now_s`` go out, never before what came earlier."""
        self._last_s = max(self._last_s, now_s + self._link.delay_s + self._stall_s(size))
        return self._last_s

    def _stall_s(self, size: int) -> float:
        """Return how long retransmissions hold up a burst: those of one burst go on at the same time."""
        if not self._link.loss:
            return 0.0
        round_trip_s, segments = 2 * self._link.delay_s, math.ceil(size / SEGMENT_BYTES)
        stall_s = 0.0
        for segment in range(segments):
            if self._rng.random() < self._link.loss:
                fast = segments - segment > FAST_AFTER
                stall_s = max(stall_s, round_trip_s + (0.0 if fast else LEAST_TIMEOUT_S))
        return stall_s


class LinkProcess:
    """The process of a link, between clients and one port of this machine.

    Args:
        link: What it does to the bytes.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open = contextlib.AsyncExitStack()
        self._near: Connection | None = None

    async def reach(self, port: int) -> int:
        """Start it in front of ``port`` and return the port that clients are to use.

        Raises:
            RuntimeError: The process ended before it served.
            TimeoutError: It did not serve within half a minute.
        """
        near, far = starting.context("forkserver").Pipe()
        self._open.callback(near.close)
        with far:
            reached: int = await self._open.enter_async_context(
                serving(_main, self._link, port, far, loop_name())
            )
        self._near = near
        return reached

    async def cut(self, for_s: float) -> int:
        """Reset every connection and refuse new ones for a while; return how many were reset.

        Raises:
            RuntimeError: The link is not up.
        """
        near = self._near
        if near is None:
            raise RuntimeError("the link is not up: start it with reach()")
        near.send(for_s)
        count: int = await in_thread(near.recv)
        return count

    async def stop(self) -> None:
        """End the process; idempotent."""
        self._near = None
        await self._open.aclose()


class _Relay:
    """The proxy within its process."""

    def __init__(self, link: Link, port: int) -> None:
        self._link = link
        self._port = port
        self._connections = 0
        self._cut_until_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._inward: set[asyncio.StreamWriter] = set()

    def cut(self, for_s: float) -> int:
        self._cut_until_s = asyncio.get_running_loop().time() + for_s
        count = len(self._inward)
        for writer in self._writers:
            _reset(writer)
        return count

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes between a client and the server until both have ended, or one is broken."""
        if asyncio.get_running_loop().time() < self._cut_until_s:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            _reset(writer)
            return
        self._connections += 1
        ends = {writer, far_writer}
        self._writers |= ends
        self._inward.add(writer)
        directions = ((reader, far_writer, "in"), (far_reader, writer, "out"))
        try:
            async with asyncio.TaskGroup() as group:
                for source, target, name in directions:
                    rng = random.Random(f"{self._link.seed} {self._connections} {name}")
                    group.create_task(_pass_on(source, target, Line(self._link, rng)))
        except* OSError:
            pass  # one end is broken, or was cut: so is the other now
        finally:
            self._inward.discard(writer)
            self._writers -= ends
            for end in ends:
                end.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection: the other end loses what it has not read yet."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Pass on what comes until its end, each chunk when it is due."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
    async with asyncio.TaskGroup() as group:
        group.create_task(_write(waiting, writer))
        loop = asyncio.get_running_loop()
        chunk = b"."
        while chunk:
            chunk = await reader.read(CHUNK_BYTES)
            await waiting.put((line.due_s(loop.time(), len(chunk)), chunk))


async def _write(waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, chunk = await waiting.get()
        await asyncio.sleep(max(due_s - loop.time(), 0))
        if not chunk:
            writer.write_eof()
            return
        writer.write(chunk)
        await writer.drain()


def _main(far: Connection, link: Link, port: int, commands: Connection, loop: LoopName) -> None:
    run(_serve(far, _Relay(link, port), commands), loop)


async def _serve(far: Connection, relay: _Relay, commands: Connection) -> None:
    def obey() -> None:
        try:
            commands.send(relay.cut(commands.recv()))
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(commands.fileno())

    asyncio.get_running_loop().add_reader(commands.fileno(), obey)
    server = await asyncio.start_server(relay.serve, HOST, 0)
    try:
        await tell_port(far, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        relay.cut(math.inf)
