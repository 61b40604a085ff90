"""Starting child processes: the fork server and the descriptors that they need."""

from __future__ import annotations

import multiprocessing
import os
import resource
from multiprocessing import forkserver
from typing import TYPE_CHECKING

from fedbench.fleet.preload import MAIN_VARIABLE, describe_main

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

    from fedbench.fleet.settings import StartMethod

FDS_PER_CHILD = 8
SPARE_FDS = 256


def context(method: StartMethod) -> ForkServerContext | SpawnContext:
    """Return the context that makes processes; start the fork server, with its preloads, if need be.

    A fork server that somebody else has started in this process before serves too, without the preloads.
    """
    if method == "spawn":
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    if forkserver._forkserver._forkserver_pid is None:  # type: ignore[attr-defined]
        chosen.set_forkserver_preload(["fedbench.fleet.preload"])
        os.environ[MAIN_VARIABLE] = describe_main()
        try:
            forkserver.ensure_running()
        finally:
            del os.environ[MAIN_VARIABLE]
    return chosen


def allow_descriptors(children: int) -> None:
    """Raise the soft limit of open files as far as that many children need and the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + children * FDS_PER_CHILD + SPARE_FDS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
