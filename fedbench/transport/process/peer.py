"""Peer: the process at the other end of a connection: its queues, and the news of its death."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fedbench.tensors.shared import SharedStore


class Peer:
    """A process, the queue that it writes and the queue that it reads.

    Death is told by a pidfd in the loop: a queue at its end only says that nobody can write to it. The
    leases of a process that is gone end with it; one that merely closed its connection may still read.

    Args:
        pid: Its process, which may be this one.
        pidfd: Descriptor of that process; None if it is this one.
        read_fd: End of the queue from it, non-blocking.
        write_fd: End of the queue to it, non-blocking.

    Attributes:
        pid, read_fd, write_fd: As given.
        on_death: Called once when the process has died, until :meth:`close`.
    """

    def __init__(self, pid: int, pidfd: int | None, read_fd: int, write_fd: int) -> None:
        self.pid = pid
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.on_death: Callable[[], None] | None = None
        self._pidfd = pidfd
        self._lease: tuple[SharedStore, Hashable] | None = None
        self._loop = asyncio.get_running_loop()
        if pidfd is not None:
            self._loop.add_reader(pidfd, self._died)

    def close(self, holder: Hashable, store: SharedStore) -> None:
        """Close the queues; what ``holder`` still holds of ``store`` is free once the process is dead."""
        os.close(self.read_fd)
        os.close(self.write_fd)
        self.on_death = None
        if not store.lends_to(holder):
            self.abandon()
        elif self._pidfd is not None:
            self._lease = (store, holder)

    def abandon(self) -> None:
        """Stop watching the process; idempotent."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    @property
    def watched(self) -> bool:
        """Whether its death will be noticed."""
        return self._pidfd is not None

    def _died(self) -> None:
        if self.on_death is not None:
            self.on_death()
        self.abandon()
        if self._lease is not None:
            store, holder = self._lease
            store.forget(holder)
