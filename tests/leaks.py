"""What a test may not leave behind: descriptors, threads, child processes, shared segments, tasks."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NamedTuple

SHM = "/dev/shm"
HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


class Resources(NamedTuple):
    """What this process holds."""

    fds: frozenset[tuple[str, str]]
    threads: frozenset[threading.Thread]
    children: frozenset[str]
    segments: frozenset[str]


def resources() -> Resources:
    """Look at this process; cheap."""
    children: set[str] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as lines:
                children.update(lines.read().split())
        except OSError:
            pass  # that thread has just ended
    return Resources(
        frozenset((fd, path) for fd in os.listdir("/proc/self/fd") if (path := _target(fd))),
        frozenset(threading.enumerate()),
        frozenset(children),
        frozenset(name for name in os.listdir(SHM) if name.startswith("fb-")),
    )


def leaks(before: Resources) -> list[str]:
    """Describe what is there now and was not ``before``; garbage is collected first if anything is."""
    if not _new(before, resources()):
        return []
    gc.collect()
    for thread in threading.enumerate():
        if thread not in before.threads:
            thread.join(0.2)  # one that is about to end does not leak
    return _new(before, resources())


def abandoned() -> frozenset[str]:
    """Return the segments whose owner is dead."""
    return frozenset(name for name in os.listdir(SHM) if name.startswith("fb-") and not _lives(name))


def pending_tasks() -> list[str]:
    """Describe the tasks of the running loop other than the current one."""
    return [f"task {task!r}" for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def _new(before: Resources, now: Resources) -> list[str]:
    found = [f"thread {thread.name!r}" for thread in now.threads - before.threads]
    found += [f"segment {SHM}/{name}" for name in now.segments - before.segments if _is_ours(name)]
    found += [
        f"child process {pid}: {line}" for pid in now.children - before.children if (line := _child(pid))
    ]
    found += [f"fd {fd}: {path}" for fd, path in now.fds - before.fds]
    return found


def _target(fd: str) -> str:
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""  # it was the one that listed the folder
    return "" if int(fd) == resource_tracker._resource_tracker._fd else path


def _child(pid: str) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    if any(helper in line for helper in HELPERS):
        return ""
    return line.replace(b"\0", b" ").decode() or "ended, not waited for"


def _is_ours(name: str) -> bool:
    """Whether this process answers for a segment: a dead one's may be another worker's, which needs it."""
    owner = _owner(name)
    return owner in ("", str(os.getpid())) or ("PYTEST_XDIST_WORKER" not in os.environ and not _lives(name))


def _lives(name: str) -> bool:
    return os.path.exists(f"/proc/{_owner(name)}")


def _owner(name: str) -> str:
    return "".join(name.split("-")[2:3])
