"""Reading ``/proc`` while the processes in it come and go."""

from __future__ import annotations

import contextlib
import os


def read_bytes(path: str) -> bytes | None:
    """Return the whole content of a file in ``/proc/<pid>``, None when the process or thread is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, ProcessLookupError):
        return None


def thread_ids(pid: int) -> list[int]:
    """Return the ids of a process's threads, the leader among them; empty when the process has vanished."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def open_files(pid: int) -> dict[int, os.stat_result]:
    """Return what a process of this user has open, by descriptor; empty when it has vanished."""
    files = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                files[int(name)] = os.stat(f"/proc/{pid}/fd/{name}")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the latter of one that is just dying
        return {}
    return files


def open_descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open, 0 when it has vanished."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
