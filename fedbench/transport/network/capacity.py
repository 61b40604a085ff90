"""Capacity: how many connections this process can hold before it runs out of descriptors."""

from __future__ import annotations

import os
import resource

SPARE_FDS = 128
"""Left for files, other sockets, and connections of those who are not let in, or not yet."""
STRANGER_FDS = 64
"""Of these: for connections that do not say who they are. They may take what clients have not taken, too."""


def allow_descriptors() -> int:
    """Raise the soft limit of open files to the hard one; return how many connections that leaves room for.

    It looks at a folder of the kernel: call it from a thread.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return room(hard, len(os.listdir("/proc/self/fd")))


def room(limit: int, used: int) -> int:
    """Return how many connections fit into ``limit`` descriptors of which ``used`` are taken."""
    if limit == resource.RLIM_INFINITY:
        return 1 << 20
    return max(limit - used - SPARE_FDS, 0)
