"""The lock on a run's folder: one process measures into it at a time, and none removes it meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedbench.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Some file systems know no locks: nobody can be kept out of a folder there."""


class Held(ConfigError):
    """Another process is measuring into a folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from measuring into the same folder.

    Raises:
        Held: Another one does.
        OSError: There is no such folder, or it cannot be read.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another process is measuring into it: wait for that, or end it"
            raise Held(str(folder), [Problem("", message)]) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Return whether another process is measuring into a folder.

    Raises:
        OSError: There is no such folder, or it cannot be read.
    """
    try:
        with held(folder):
            return False
    except Held:
        return True
