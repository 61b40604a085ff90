"""Floors of network mode: what bare TCP costs over loopback, to and from a child process."""

from __future__ import annotations

import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fedbench.loop import in_thread
from harness.stacks.children import HOST, START_TIMEOUT_S, beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.stacks.floors_process import Timed

BULK_BYTES = 100_000_000
BULK_SAMPLES = 20
BYTE = b"."


async def tcp_down(count: int) -> list[int]:
    """Time 100 MB to another process in ns, at most 20 times: see :func:`tcp_transfers`."""
    return await _tcp(count, up=False)


async def tcp_up(count: int) -> list[int]:
    """Time 100 MB from another process in ns, at most 20 times: see :func:`tcp_transfers`."""
    return await _tcp(count, up=True)


async def _tcp(count: int, *, up: bool) -> list[int]:
    async with tcp_transfers(BULK_BYTES, up=up) as transfers:
        return await transfers(min(count, BULK_SAMPLES))


@asynccontextmanager
async def tcp_transfers(nbytes: int, *, up: bool) -> AsyncIterator[Timed]:
    """Keep a blocking TCP connection to a child, with memory on both sides that is warm.

    Args:
        nbytes: Size of one transfer in bytes.
        up: Whether the child sends, from one byte that asks for it; otherwise it receives, and sends one byte
            behind the last.

    Yields:
        Times as many transfers as it is told, in ns.
    """
    data = memoryview(bytearray(nbytes))
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(START_TIMEOUT_S)
        async with beside(_tcp_peer, listener.getsockname()[1], nbytes, up):
            near, _ = await in_thread(listener.accept)
            with near:
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

                async def transfers(count: int) -> list[int]:
                    return [await in_thread(_transfer, near, data, up=up) for _ in range(count)]

                await transfers(1)
                yield transfers


def _transfer(near: socket.socket, data: memoryview, *, up: bool) -> int:
    start_ns = time.perf_counter_ns()
    near.sendall(BYTE if up else data)
    if not _fill(near, data if up else memoryview(bytearray(1))):
        raise RuntimeError("the other side of a TCP floor has gone")
    return time.perf_counter_ns() - start_ns


def _tcp_peer(port: int, size: int, up: bool) -> None:
    data, byte = memoryview(bytearray(size)), memoryview(bytearray(1))
    with socket.create_connection((HOST, port), START_TIMEOUT_S) as far:
        far.settimeout(None)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while _fill(far, byte if up else data):
            far.sendall(data if up else BYTE)


def _fill(link: socket.socket, into: memoryview) -> bool:
    """Receive until ``into`` is full; tell whether it is, or the other side has closed before."""
    while into:
        received = link.recv_into(into)
        if not received:
            return False
        into = into[received:]
    return True
