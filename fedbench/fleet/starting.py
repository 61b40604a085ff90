"""Starting child processes: the fork server and the descriptors that they need."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import threading
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING

from fedbench.fleet.preload import MAIN_VARIABLE, describe_main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerContext, SpawnContext

    from fedbench.fleet.settings import StartMethod

log = logging.getLogger("fedbench.fleet")

FDS_PER_CHILD = 8
SPARE_FDS = 256
_starting = threading.Lock()


def context(method: StartMethod, *modules: str) -> ForkServerContext | SpawnContext:
    """Return the context that makes processes; start the fork server, with its preloads, if need be.

    A fork server that somebody else has started in this process before serves too, without the preloads; one
    that was killed is replaced. Thread-safe.

    Args:
        method: How processes are started.
        modules: What a fork server that is started now loads beside the runtime.
    """
    if method == "spawn":
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    with _starting:
        if not _fork_server_runs():
            chosen.set_forkserver_preload(["fedbench.fleet.preload"])
            os.environ[MAIN_VARIABLE] = describe_main(*modules)
            try:
                with without_interrupts():
                    forkserver.ensure_running()
            finally:
                del os.environ[MAIN_VARIABLE]
    return chosen


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Have what this thread starts begin with SIGINT blocked, until it can say that it ignores it."""
    resource_tracker.ensure_running()  # starting it later would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork_server_runs() -> bool:
    """Look without reaping it, which multiprocessing does before it starts another."""
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if pid is None:
        return False
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return True
    log.warning("the fork server (process %d) has died: starting another", pid)
    return False


def allow_descriptors(children: int) -> None:
    """Raise the soft limit of open files as far as that many children need and the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + children * FDS_PER_CHILD + SPARE_FDS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
