"""Children: Ctrl-C is the server's, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from fedbench.fleet.child import enter, leave_with
from tests.pace import limit_s


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def signals():
    """Put back what ``enter`` changes in this process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_child_leaves_ctrl_c_to_the_server_and_ends_by_sigterm_even_if_that_ignores_it():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.raise_signal(signal.SIGINT)  # waits while this thread blocks it, and is forgotten then
    enter(os.getpid())
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.usefixtures("signals")
def test_a_child_of_a_server_that_is_gone_ends_at_once():
    with pytest.raises(SystemExit):
        enter(ended_process())


def test_the_death_of_the_server_is_told_whatever_the_loop_does():
    told = threading.Event()
    leave_with(ended_process(), told.set).join(limit_s(10))
    assert told.is_set()
    told.clear()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    watching = leave_with(process.pid, told.set)
    assert not told.is_set()
    process.kill()
    watching.join(limit_s(10))
    assert told.is_set()
    process.wait()
