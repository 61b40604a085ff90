import asyncio
import os
import subprocess
import threading

import pytest

from tests.leaks import abandoned, leaks, pending_tasks, resources


def test_nothing_new_is_no_leak():
    assert leaks(resources()) == []


def test_finds_a_descriptor():
    before = resources()
    read, write = os.pipe()
    try:
        assert [entry.split(":")[0] for entry in sorted(leaks(before))] == sorted(
            [f"fd {read}", f"fd {write}"]
        )
    finally:
        os.close(read)
        os.close(write)
    assert leaks(before) == []


def test_garbage_is_collected_before_it_counts():
    class Holder:
        def __init__(self):
            self.file = open("/dev/null")  # noqa: SIM115
            self.me = self

        def __del__(self):
            self.file.close()

    before = resources()
    Holder()
    assert leaks(before) == []


def test_finds_a_thread():
    before = resources()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="stray")
    thread.start()
    try:
        assert leaks(before) == ["thread 'stray'"]
    finally:
        stop.set()
        thread.join()


def test_finds_a_child_running_and_then_ended():
    before = resources()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        child.stdin.write(b".")
        assert child.stdout.read(1) == b"."  # from here on it is that program, and has its command line
        assert any(entry == f"child process {child.pid}: cat " for entry in leaks(before))
        child.stdin.close()
        child.stdout.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert leaks(before) == [f"child process {child.pid}: ended, not waited for"]
    finally:
        child.kill()
        with child:  # closes both pipes and waits
            pass
    assert leaks(before) == []


@pytest.mark.parametrize(
    ("owner", "counts"),
    [(os.getpid(), True), (1, False), (2**22 + 1, True)],
    ids=["of this process", "of a living one", "of a dead one"],
)
def test_finds_a_segment_of_this_process_or_of_a_dead_one(owner, counts, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    path = f"/dev/shm/fb-{os.getuid() + 1}-{owner}-0-{os.getpid()}"  # of another user: no run sweeps it
    before = resources()
    open(path, "x").close()
    try:
        assert (f"segment {path}" in leaks(before)) is counts
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # beside others, a dead one may be theirs
        assert (f"segment {path}" in leaks(before)) is (owner == os.getpid())
        assert (os.path.basename(path) in abandoned()) is (owner == 2**22 + 1)
    finally:
        os.unlink(path)


async def test_finds_a_task():
    task = asyncio.create_task(asyncio.sleep(60), name="stray")
    assert "name='stray'" in "".join(pending_tasks())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pending_tasks() == []


def test_is_cheap_where_nothing_is_new(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: pytest.fail("a collection for nothing"))
    assert leaks(resources()) == []


@pytest.mark.slow
def test_the_gates_fail_a_test_that_leaks_or_blocks(pytester):
    """Runs the real conftest in a process of its own over tests that must each end in an error."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        asyncio_mode = "auto"
        asyncio_default_fixture_loop_scope = "function"
        pythonpath = ["{root}"]
        filterwarnings = ["error"]
        """
    )
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(
        """
        import asyncio, os, time
        import pytest
        from fedbench.transport.dispatch import Dispatcher
        from fedbench.messages import Kind, Message
        from fedbench.transport.receipt import Ledger, Receipt

        tasks = []

        async def test_task():
            tasks.append(asyncio.create_task(asyncio.sleep(60)))

        def test_descriptor():
            os.pipe()

        async def test_clean():
            task = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            task.cancel()

        async def test_blocking_in_a_handler():
            receipt = Receipt(Ledger())
            handler = lambda message: time.sleep(0.001)
            Dispatcher().run([handler], Message(Kind.DATA, "a", "b"), receipt)
            with pytest.raises(Exception, match="Blocking call to time.sleep"):
                await receipt.applied
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines_random(["*left behind: *task <Task pending*", "*left behind: *fd *pipe:*"])
