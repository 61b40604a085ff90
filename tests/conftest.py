"""Gates over every test: nothing may leak, and nothing of the runtime may block the event loop."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import uvloop
from blockbuster import blockbuster_ctx
from hypothesis import settings

from fedbench.fleet import starting
from tests.leaks import leaks, pending_tasks, resources

settings.register_profile("untimed", deadline=None)  # machines are shared: no test is about speed
settings.load_profile("untimed")

# What a shell starts in the background ignores interrupts, and so would all that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]

SEGMENTS = "fedbench/tensors/segments.py"
NETWORK = "fedbench/transport/network/backend.py"


@pytest.fixture(autouse=True, scope="session")
def no_blocking_calls() -> Iterator[None]:
    """Raise where code of the runtime blocks a running event loop."""
    with blockbuster_ctx(scanned_modules=["fedbench"]) as blocking:
        # A file of the kernel's memory, not of a disk: reading it waits for nothing.
        blocking.functions["io.BufferedReader.read"].can_block_in(SEGMENTS, {"_starttime"})
        blocking.functions["io.BufferedReader.read"].can_block_in(NETWORK, {"_clock_id"})
        # The pipe to the resource tracker, which does nothing but read it.
        blocking.functions["os.write"].can_block_in(SEGMENTS, {"_create", "unlink", "sweep"})
        # The exit code of a child that is known to be dead.
        blocking.functions["os.read"].can_block_in("multiprocessing/popen_forkserver.py", {"poll"})
        # The legacy architecture reads whole messages out of its queues, however long that takes.
        blocking.functions["os.read"].can_block_in("fedbench/polling/queues.py", {"look"})
        # A floor is timed where the loop would be idle otherwise; its two threads are all that runs then.
        blocking.functions["threading.Lock.acquire"].can_block_in("harness/workloads/beside.py", {"work"})
        yield


@pytest_asyncio.fixture
async def no_pending_tasks() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind."""
    yield
    if pending_tasks():
        await asyncio.sleep(0)  # one that was cancelled may end
    found = pending_tasks()
    assert not found, f"left behind: {found}"


@pytest.fixture(autouse=True, scope="session")
def libuv_signal_pipe() -> None:
    """Have libuv open the pipe that it keeps for the life of the process before descriptors are counted."""
    uvloop.new_event_loop().close()


@pytest.fixture(autouse=True, scope="session")
def fork_server() -> None:
    """Start the fork server and the resource tracker, which live as long as this process."""
    starting.context("forkserver")


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a descriptor, thread, child process or shared segment behind."""
    before = resources()
    yield
    found = leaks(before)
    assert not found, f"left behind: {found}"


@pytest.fixture(autouse=True)
def no_task_leaks(request: pytest.FixtureRequest, no_leaks: None) -> None:
    """Have every async test checked for tasks; only those have a loop."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("no_pending_tasks")
