"""The other side of a bare measurement: a child process, and a server in one that tells its port."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from fedbench.fleet import starting
from fedbench.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from multiprocessing.connection import Connection

    from fedbench.loop import LoopName

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0


def loop_name() -> LoopName:
    """Return of which kind the running loop is."""
    return "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"


@contextmanager
def child(target: Callable[..., None], *args: Any) -> Iterator[None]:
    """Run a function in another process; wait for its end at the end."""
    process = starting.context("forkserver").Process(target=target, args=args, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.join()
        process.close()


@asynccontextmanager
async def beside(target: Callable[..., None], *args: Any) -> AsyncIterator[None]:
    """Do as :func:`child`, and let the loop run while the process starts and ends."""
    other = child(target, *args)
    await in_thread(other.__enter__)
    try:
        yield
    finally:
        await in_thread(other.__exit__, None, None, None)


@asynccontextmanager
async def serving(target: Callable[..., None], *args: Any) -> AsyncIterator[int]:
    """Run a server in another process and give its port.

    Args:
        target: Called there as ``target(far, *args)``; it is to :func:`tell_port` through ``far`` and to
            return when that ends.
        args: Further arguments.

    Raises:
        RuntimeError: It ended before it told its port.
        TimeoutError: It told none within 30 seconds.
    """
    near, far = starting.context("forkserver").Pipe()
    with near, far:
        async with beside(target, far, *args):
            far.close()
            try:
                yield await in_thread(_heard, near)
            finally:
                near.close()


async def tell_port(far: Connection, port: int) -> None:
    """Tell the port of a server, and wait until the other side has gone or has had enough."""
    far.send(port)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(far.fileno(), over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(far.fileno())


def _heard(near: Connection) -> int:
    if not near.poll(START_TIMEOUT_S):
        raise TimeoutError(f"a server did not start within {START_TIMEOUT_S:g} s")
    try:
        port: int = near.recv()
    except EOFError:
        raise RuntimeError("a server ended before it had started: see its traceback above") from None
    return port
