"""What children of the tests of faults do; they find it by its name."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from pathlib import Path

from fedbench.fleet.child import enter, leave_with


def blocked():
    """Return whether this thread has SIGINT blocked."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def tell(path, *values):
    """Write a line at once: who reads it never sees half of it."""
    Path(f"{path}.new").write_text(" ".join(map(str, values)))
    Path(f"{path}.new").rename(path)


def masked(child_id, incarnation, spec):
    """Tell whether SIGINT is blocked before and after ``enter``."""
    before = blocked()
    enter(spec["server"])
    tell(spec["report"], before, blocked(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN)


def forker(child_id, incarnation, spec):
    """Fork a process that outlives this one, and wait."""
    enter(spec["server"])
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    tell(spec["report"], pid)
    time.sleep(60)


def preloaded(child_id, incarnation, spec):
    """Tell whether this process was forked from one that had set apart what it had loaded."""
    enter(spec["server"])
    tell(spec["report"], gc.get_freeze_count() > 0)
    if spec.get("wait"):
        time.sleep(60)


def busy(child_id, incarnation, spec):
    """Compute in a thread, as a learner does, and watch the server in the loop."""
    enter(spec["server"])
    leave_with(spec["server"])

    async def serve():
        threading.Thread(target=_compute, daemon=True).start()
        tell(f"{spec['report']}.{child_id}", os.getpid())
        _compute()  # holds the loop, as a learner may

    asyncio.run(serve())


def _compute():
    total = 0
    while True:
        total += 1
