"""Gates over every test: nothing may leak, and nothing of the runtime may block the event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio
import uvloop
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from fedbench.fleet import starting
from fedbench.tensors import segments
from tests.leaks import abandoned, leaks, pending_tasks, resources
from tests.pace import examples, factor, limit_s, thorough

# Machines are shared: no test is about speed, and examples that are slow to make are no fault.
settings.register_profile(
    "untimed", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

# What a shell starts in the background ignores interrupts, and so would all that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]

SEGMENTS = "fedbench/tensors/segments.py"
NETWORK = "fedbench/transport/network/backend.py"
ABANDONED = pytest.StashKey[frozenset[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--nightly``: what a night has the time for."""
    parser.addoption("--nightly", action="store_true", help="run the tests marked nightly, too")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Measure the machine before workers begin, and give each worker a folder of its own for temporary files.

    What one worker sweeps would be what another has just left behind.
    """
    factor()
    config.stash[ABANDONED] = abandoned()
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = os.path.join(tempfile.gettempdir(), worker)
        os.mkdir(folder)
    else:
        made = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
        config.add_cleanup(made.cleanup)  # not before the workers have ended, which remove what is in theirs
        folder = made.name
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def pytest_report_header() -> str:
    """Say what limits of time are multiplied by, so that a report of a failure tells it."""
    return f"pace: limits of time are {factor():.1f} x what they are where the tests were written"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the nightly tests to the night, and scale every test's limit."""
    if not thorough() and not _chosen(config):
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        if nightly:
            config.hook.pytest_deselected(items=nightly)
            items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    usual_s = float(config.getini("timeout") or 20)
    for item in items:
        own = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(limit_s(own.args[0] if own else usual_s)), append=False)


def _chosen(config: pytest.Config) -> bool:
    """Whether nightly tests are asked for: by option, by marker, or by their own names."""
    return bool(config.getoption("--nightly") or config.getoption("-m")) or any(
        "::" in arg for arg in config.args
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left segments of dead processes behind, whichever worker's they were."""
    if hasattr(session.config, "workerinput"):
        return
    before, end_s = session.config.stash[ABANDONED], time.monotonic() + limit_s(1)
    while (found := abandoned() - before) and time.monotonic() < end_s:
        time.sleep(0.05)  # their owner's parent may be about to sweep them
    if found:
        sys.stderr.write(f"\nleft behind by processes that have ended: {', '.join(sorted(found))}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name whole frames by their argument: masks and process ids in them differ from worker to worker."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what a log captured that no worker can send: a surrogate ends the whole run otherwise."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


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


@pytest.fixture(autouse=True, scope="session")
def frozen_tests() -> None:
    """Leave what collecting the tests has made out of every later collection, which would take a second."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture
def own_namespace(monkeypatch: pytest.MonkeyPatch) -> int:
    """Name segments so that only this worker takes them for left over, and return the number that does it.

    Every federation of processes sweeps at its start, and other workers start some all the time.
    """
    monkeypatch.setattr(segments, "NAMESPACE", os.getpid())
    return os.getpid()


@pytest.fixture(autouse=True)
def no_task_leaks(request: pytest.FixtureRequest, no_leaks: None) -> None:
    """Have every async test checked for tasks; only those have a loop."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("no_pending_tasks")
