"""The processes below a root."""

from __future__ import annotations

import os

import psutil

from harness.probes.procfs import read_bytes, thread_ids

_KERNEL_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")  # CONFIG_PROC_CHILDREN


def process_tree(root_pid: int) -> list[int]:
    """Return the pids of a process and of all its descendants.

    Read from ``/proc/<pid>/task/*/children``, or from psutil where the kernel was built without that file.
    Processes may come and go meanwhile: what has vanished is left out, what is born behind the walk's back
    appears the next time. A zombie belongs to the tree until it is reaped; a process whose parent has died
    does not belong to it any more.

    Args:
        root_pid: The process to begin with.

    Returns:
        Parents before their children, the root first; empty when the root is gone.
    """
    return _walk(root_pid) if _KERNEL_LISTS_CHILDREN else _ask_psutil(root_pid)


def _walk(root_pid: int) -> list[int]:
    found = []
    pending = [root_pid]
    for pid in pending:
        threads = thread_ids(pid)
        if threads:
            found.append(pid)
        for thread in threads:
            children = read_bytes(f"/proc/{pid}/task/{thread}/children") or b""
            pending.extend(map(int, children.split()))
    return found


def _ask_psutil(root_pid: int) -> list[int]:
    try:
        return [root_pid, *(child.pid for child in psutil.Process(root_pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []
