"""Completion: tells the harness that clients have handled all that they were sent. One named pipe.

Nothing is asked of a client for it, and no client is looked at again and again: each writes one byte when it
has handled its last message, whatever process it is in and however its messages come.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_READ_BYTES = 65536


class Completion:
    """Counts the reports of clients.

    Args:
        path: The pipe that the clients are told.
        fd: Its descriptor, open for reading without blocking.
        clients: How many reports make it complete.
    """

    def __init__(self, path: str, fd: int, clients: int) -> None:
        self.path: Final = path
        self._fd = fd
        self._missing = clients
        self._complete = asyncio.Event()
        if not clients:
            self._complete.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return whether all clients reported within ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._complete.wait()
        except TimeoutError:
            return False
        return True

    def read(self) -> None:
        """Take the reports that have come; never blocks."""
        try:
            self._missing -= len(os.read(self._fd, _READ_BYTES))
        except BlockingIOError:
            return
        if self._missing <= 0:
            self._complete.set()


@asynccontextmanager
async def completion(clients: int) -> AsyncIterator[Completion]:
    """Open a pipe on which ``clients`` clients :func:`report`."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="fedbench-completion-") as folder:
        path = f"{folder}/handled"
        os.mkfifo(path)
        fd = os.open(
            path, os.O_RDWR | os.O_NONBLOCK
        )  # for writing, too: then it has no end while none writes
        counted = Completion(path, fd, clients)
        loop.add_reader(fd, counted.read)
        try:
            yield counted
        finally:
            loop.remove_reader(fd)
            os.close(fd)


def report(path: str) -> None:
    """Say that one client has handled all; nobody may be listening any more."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # ENOENT or ENXIO: the harness has waited long enough
        return
    try:
        os.write(fd, b".")
    finally:
        os.close(fd)
