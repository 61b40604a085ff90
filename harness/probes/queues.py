"""What waits in the pipes and sockets of a set of processes: memory of the kernel that belongs to no process.

A pipe tells how many bytes wait in it, a socket how much memory its buffers take. Only somebody with a
descriptor is told: each is borrowed for a moment (``pidfd_getfd(2)``), which reads nothing and wakes nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DENIED: Final = "this user may not look into the pipes and sockets of other processes here"
_PIDFD_GETFD: Final = 438  # on every architecture
_SO_MEMINFO: Final = 55
_RECEIVED, _SENT, _QUEUED = (
    0,
    2,
    5,
)  # SK_MEMINFO_RMEM_ALLOC, _WMEM_ALLOC and _WMEM_QUEUED in linux/sock_diag.h
_MEMINFO: Final = struct.Struct("=9I")
_DENIALS: Final = {errno.EPERM, errno.EACCES, errno.ENOSYS}
_libc = ctypes.CDLL(None, use_errno=True)


class Queues:
    """Gathers pipes and sockets, each once.

    Attributes:
        denied: Whether some could not be looked into: the total lacks them.
    """

    def __init__(self) -> None:
        self.denied = False
        self._bytes = self._sent_bytes = self._received_bytes = 0
        self._seen: set[tuple[int, int]] = set()

    def total_bytes(self) -> int:
        """Return what waits in all of them.

        What goes through a local socket is charged to the sender while that is open, and to nobody behind its
        end: then the bytes that the other side finds are what is known.
        """
        return self._bytes + max(self._sent_bytes, self._received_bytes)

    def add(self, pid: int, files: Mapping[int, os.stat_result]) -> None:
        """Add those among the open files of a process."""
        wanted = {
            fd: file
            for fd, file in files.items()
            if (stat.S_ISFIFO(file.st_mode) or stat.S_ISSOCK(file.st_mode))
            and (file.st_dev, file.st_ino) not in self._seen
        }
        if not wanted:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:
            self.denied = True
            return
        try:
            for fd, file in wanted.items():
                self._add(pidfd, fd, file)
        finally:
            os.close(pidfd)

    def _add(self, pidfd: int, fd: int, file: os.stat_result) -> None:
        key = file.st_dev, file.st_ino
        if key in self._seen:
            return
        try:
            with _borrowed(pidfd, fd) as own:
                if stat.S_ISFIFO(file.st_mode):
                    self._bytes += _waiting(own)
                else:
                    self._add_socket(own)
        except OSError as error:  # otherwise EBADF or ESRCH: closed meanwhile; or a socket without buffers
            self.denied = self.denied or error.errno in _DENIALS
        self._seen.add(key)

    def _add_socket(self, fd: int) -> None:
        with socket.socket(fileno=os.dup(fd)) as borrowed:
            info = _MEMINFO.unpack(borrowed.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
            if borrowed.family != socket.AF_UNIX:
                self._bytes += info[_RECEIVED] + info[_QUEUED]
                return
        self._sent_bytes += info[_SENT]
        with contextlib.suppress(OSError):  # EINVAL: one that listens
            self._received_bytes += _waiting(fd)


@contextlib.contextmanager
def _borrowed(pidfd: int, fd: int) -> Iterator[int]:
    own: int = _libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
    if own < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        yield own
    finally:
        os.close(own)


def _waiting(fd: int) -> int:
    waiting: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    return waiting
