"""Proxy: a TCP connection that a test can cut, or let fall silent."""

from __future__ import annotations

import asyncio


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes:
        port: Where it listens.
        carried: Bytes that have passed, both ways together.
        cut_after: Cut every connection when so many bytes have passed, once; None for never.
        silent: Swallow what comes, as a link does whose cable was pulled.
        refuse: Cut new connections at once.
        mangle: Applied to what clients send, as by something on the way that knows better.
    """

    def __init__(self) -> None:
        self.port = 0
        self.carried = 0
        self.cut_after: int | None = None
        self.silent = False
        self.refuse = False
        self.mangle = bytes
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()

    async def start(self, target: int) -> None:
        self._target = target
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuse:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        except OSError:
            pass
        finally:
            for one in (writer, up_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _pump(self, reader, writer):
        while data := await reader.read(1 << 16):
            self.carried += len(data)
            if self.cut_after is not None and self.carried >= self.cut_after:
                self.cut_after = None
                self.cut()
            if not self.silent:
                writer.write(self.mangle(data))
                await writer.drain()
        writer.close()
