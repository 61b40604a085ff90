"""A run's folder: made, and what to say when nothing more fits into it."""

from __future__ import annotations

import errno
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedbench.errors import ConfigError, Problem
from harness.records.store import OBSERVATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.records.schema import RunRecord

_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EIO: "have the disk looked after",
}


class Unsaved(ConfigError):
    """What is measured, or its report, can no longer be saved.

    Attributes:
        folder: The run's folder.
        kept: Whether anything that was measured is kept.
        record: The run, where only its report is missing.
    """

    def __init__(self, source: str, problem: Problem, folder: Path) -> None:
        super().__init__(source, [problem])
        observations = folder / OBSERVATIONS
        self.folder = folder
        self.kept = observations.is_file() and observations.stat().st_size > 0
        self.record: RunRecord | None = None


@contextmanager
def saving(folder: Path, go_on: str = "run --resume") -> Iterator[None]:
    """Say what to do where what is measured can no longer be saved.

    Args:
        folder: The run's folder.
        go_on: The command that goes on from there.

    Raises:
        Unsaved: Something could not be written; it names the file, and how the run goes on.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        message = (
            f"cannot be written: {error.strerror}; what was saved before is kept and can be read: "
            f"{remedy}, then `fedbench {go_on} {folder}`"
        )
        raise Unsaved(str(error.filename or folder), Problem("", message), folder) from error


def make_folder(folder: Path) -> Path:
    """Make ``folder``, or the first of ``folder-2``, ``folder-3`` … that nobody else has; return which."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            if not candidate.exists():
                raise  # a file stands where the parent should be
        else:
            return candidate
    raise AssertionError("unreachable")
