"""Children: Ctrl-C is the server's, and none outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from fedbench.fleet.child import enter, watch_parent


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_child_leaves_ctrl_c_to_the_server():
    before = signal.getsignal(signal.SIGINT)
    try:
        enter(os.getpid())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_child_of_a_server_that_is_gone_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            enter(ended_process())
    finally:
        signal.signal(signal.SIGINT, before)


async def test_the_death_of_the_server_is_told():
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    watch_parent(loop, ended_process(), told.set)
    assert told.is_set()
    told.clear()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pidfd = watch_parent(loop, process.pid, told.set)
    process.kill()
    async with asyncio.timeout(10):
        await told.wait()
    loop.remove_reader(pidfd)
    os.close(pidfd)
    process.wait()
