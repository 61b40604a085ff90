"""Reading ``/proc`` while the processes in it come and go."""

from __future__ import annotations

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


def open_descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open, 0 when it has vanished."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
