"""Children beside a measurement: servers that tell their port, and that end when nobody needs them."""

from __future__ import annotations

import asyncio
import os
import socket
from multiprocessing.connection import Connection

import pytest

from fedbench.loop import LoopName, run
from harness.stacks import children
from harness.stacks.children import HOST, beside, child, loop_name, serving, tell_port


def _pid_server(far: Connection) -> None:
    """Serve this process's pid to one caller after the other."""
    asyncio.run(_serve(far))


async def _serve(far: Connection) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{os.getpid()}\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        await tell_port(far, server.sockets[0].getsockname()[1])


def _send(far: socket.socket) -> None:
    far.sendall(b"done")


def _silent(far: Connection) -> None:
    far.poll(None)


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_the_kind_of_the_running_loop_is_known(name: LoopName) -> None:
    async def ask() -> LoopName:
        return loop_name()

    assert run(ask(), name) == name


def test_a_child_is_waited_for() -> None:
    near, far = socket.socketpair()
    with near, far:
        with child(_send, far):
            pass
        assert near.recv(10) == b"done"


async def test_the_loop_runs_while_a_child_does() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        async with beside(_send, far):
            assert await asyncio.get_running_loop().sock_recv(near, 10) == b"done"


async def test_a_server_is_another_process_and_ends_with_its_use() -> None:
    async with serving(_pid_server) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        pid = int(await reader.readline())
        writer.close()
        await writer.wait_closed()
        assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_ends_when_its_user_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        async with serving(_pid_server):
            raise ZeroDivisionError


async def test_a_server_that_ends_before_it_serves_is_told() -> None:
    with pytest.raises(RuntimeError, match="a server ended before it had started"):
        async with serving(id):
            raise AssertionError("it gave a port")


async def test_a_server_that_tells_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "START_TIMEOUT_S", 0.01)
    with pytest.raises(TimeoutError, match=r"did not start within 0\.01 s"):
        async with serving(_silent):
            raise AssertionError("it gave a port")
