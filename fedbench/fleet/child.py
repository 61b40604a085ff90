"""What a child process does first: leave Ctrl-C to its parent, and never outlive it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _leave() -> None:
    os._exit(1)


def enter(server_pid: int) -> None:
    """Begin a child of ``server_pid``, which need not be the parent that forked it.

    A Ctrl-C goes to every process of the terminal: the server alone decides what it means. It has been
    blocked here so far. SIGTERM ends the process, even if the server ignores it, until a handler is set.

    Children are batch work: one that wakes does not push the server off its core, which would cost the server
    its caches once for each child that it wakes. The server still pushes them off.

    Raises:
        SystemExit: The server is gone already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # where a sandbox forbids it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        os.kill(server_pid, 0)
    except ProcessLookupError:
        raise SystemExit(1) from None


def leave_with(server_pid: int, leave: Callable[[], None] = _leave) -> threading.Thread:
    """Call ``leave`` when the process ``server_pid`` has died, by default to end this one at once.

    A thread waits for it and nothing else, because a learner may hold the loop. It ends with the process.
    """
    thread = threading.Thread(target=_wait_for, args=(server_pid, leave), name="fedbench-leave", daemon=True)
    thread.start()
    return thread


def _wait_for(server_pid: int, leave: Callable[[], None]) -> None:
    try:
        pidfd = os.pidfd_open(server_pid)
    except ProcessLookupError:
        leave()
        return
    dead = select.poll()
    dead.register(pidfd, select.POLLIN)
    dead.poll()
    os.close(pidfd)
    leave()
