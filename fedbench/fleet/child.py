"""What a child process does first: leave Ctrl-C to its parent, and never outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


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


def watch_parent(loop: asyncio.AbstractEventLoop, server_pid: int, on_death: Callable[[], None]) -> int:
    """Call ``on_death`` in the loop when the process ``server_pid`` has died; at once if it has.

    Returns:
        The descriptor that the loop watches; -1 if the process has died. A child keeps it to its end.
    """
    try:
        pidfd = os.pidfd_open(server_pid)
    except ProcessLookupError:
        on_death()
        return -1
    loop.add_reader(pidfd, on_death)
    return pidfd
