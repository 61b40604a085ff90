"""Folders for what workers leave in files, such as sockets; what killed runs left is found again.

Who makes one holds a lock in it for as long as it lives, so that nobody has to compare process ids.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.records.lock import NO_LOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "fb-"
MARK = "fedbench.lock"
"""The file that is held. A folder without one is somebody else's, whatever its name."""


class Abandoned(NamedTuple):
    """A folder whose owner is gone.

    Attributes:
        nbytes: What its files take.
    """

    path: Path
    nbytes: int


class Scratch:
    """A folder that :meth:`cleanup` removes.

    Attributes:
        name: Its path, short enough for sockets in it.
    """

    def __init__(self) -> None:
        self.name, self._descriptor = tempfile.mkdtemp(prefix=PREFIX), -1
        try:
            self._hold()
        except BaseException:
            self.cleanup()
            raise

    def _hold(self) -> None:
        new = f"{self.name}/new"
        self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        else:
            os.rename(new, f"{self.name}/{MARK}")  # nobody sees it before it is held

    def cleanup(self) -> None:
        """Remove the folder with all that is in it; idempotent."""
        shutil.rmtree(self.name, ignore_errors=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def abandoned() -> list[Abandoned]:
    """Return this user's folders whose owner is gone, in order of their names."""
    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with _taken(path) as free:
            if free:
                found.append(Abandoned(path, sum(_size_bytes(each) for each in path.rglob("*"))))
    return found


def sweep() -> list[Path]:
    """Remove this user's folders whose owner is gone, and return which."""
    swept = []
    for leftover in abandoned():
        with _taken(leftover.path) as free:
            if free:
                shutil.rmtree(leftover.path, ignore_errors=True)
                swept += [] if leftover.path.exists() else [leftover.path]
    return swept


@contextmanager
def _taken(path: Path) -> Iterator[bool]:
    """Hold a folder whose owner is gone; False where it is nobody's of us, or still held."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as held:
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            held.callback(os.close, folder)
            mark = os.open(MARK, flags, dir_fd=folder)
            held.callback(os.close, mark)
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.fstat(folder).st_uid == os.getuid()
        except OSError:  # no folder, no mark, not ours, or held: in every case none to be removed
            free = False
        yield free


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
