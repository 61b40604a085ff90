"""Barrier: holds every client until all have arrived, whatever process each is in. Named pipes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ARRIVED = "arrived"


@asynccontextmanager
async def barrier(count: int, on_all: Callable[[], Awaitable[None]]) -> AsyncIterator[str]:
    """Hold ``count`` clients at each :func:`arrive` until all are there and ``on_all`` has returned.

    Yields:
        The folder that the clients are told.
    """
    with tempfile.TemporaryDirectory(prefix="fedbench-barrier-") as name:
        folder = Path(name)
        os.mkfifo(folder / ARRIVED)
        for index in range(count):
            os.mkfifo(folder / str(index))
        opening = asyncio.create_task(_open_again_and_again(folder, count, on_all))
        try:
            yield name
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


async def arrive(folder: str, index: int) -> None:
    """Say that client ``index`` is there and wait until all are."""
    go = os.open(f"{folder}/{index}", os.O_RDWR | os.O_NONBLOCK)
    try:
        arrived = os.open(f"{folder}/{ARRIVED}", os.O_RDWR | os.O_NONBLOCK)
        try:
            os.write(arrived, b".")
            await _byte(go)
        finally:
            os.close(arrived)
    finally:
        os.close(go)


async def _open_again_and_again(folder: Path, count: int, on_all: Callable[[], Awaitable[None]]) -> None:
    # Both ends are held open, so that no byte is lost while nobody else has the pipe open.
    pipes = [os.open(folder / name, os.O_RDWR | os.O_NONBLOCK) for name in (ARRIVED, *map(str, range(count)))]
    try:
        while True:
            for _ in range(count):
                await _byte(pipes[0])
            await on_all()
            for go in pipes[1:]:
                os.write(go, b".")
    finally:
        for pipe in pipes:
            os.close(pipe)


async def _byte(fd: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            os.read(fd, 1)
        except BlockingIOError:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(fd, _wake, readable)
            try:
                await readable
            finally:
                loop.remove_reader(fd)
        else:
            return


def _wake(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
