"""Ending a worker, with everything that it started and what they would leave behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from fedbench.tensors import segments
from harness.probes.tree import process_tree

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

GONE_WITHIN_S = 5.0
"""How long killed processes are waited for: one that the kernel holds longer keeps its segments."""


def end(leader: subprocess.Popen[bytes], seen: Iterable[int]) -> None:
    """Kill a process group, wait until all of it is gone, and remove its shared memory; idempotent.

    Args:
        leader: The worker, which leads its group.
        seen: Processes that were once below it: the tree of a worker that is dead shows them no more.
    """
    family = {*seen, *process_tree(leader.pid)}
    pidfds = _open(family, leader.pid)
    try:
        with contextlib.suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        _await(pidfds)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    # Their resource tracker is killed with them, so that nobody else would do it.
    for pid in family.intersection(leftover.pid for leftover in segments.leftovers()):
        segments.sweep(pid)


def _open(pids: Iterable[int], group: int) -> list[int]:
    """Return a descriptor for each process that is alive and in the group: ids are used again."""
    pidfds = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == group:
                pidfds.append(os.pidfd_open(pid))
    return pidfds


def _await(pidfds: Iterable[int]) -> None:
    end_s = time.monotonic() + GONE_WITHIN_S
    for pidfd in pidfds:
        poll = select.poll()  # unlike select, it takes any descriptor
        poll.register(pidfd, select.POLLIN)
        poll.poll(max(end_s - time.monotonic(), 0) * 1000)
