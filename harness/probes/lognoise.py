"""Log noise: everything that measured processes write, captured below them at the file descriptor.

Native libraries write past Python's logging; here their lines count as records of level RAW.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT: Final = "%(levelname)s %(name)s %(message)s"
"""The format measured processes log in; the message begins with the node's id."""

CONTINUATION: Final = "    | "
"""What every further line of a record begins with there (:class:`fedbench.childlog.LineFormatter`)."""

RAW: Final = "RAW"
"""The level of a line that is no record of Python's logging."""

_RECORD = re.compile(rb"(DEBUG|INFO|WARNING|ERROR|CRITICAL) \S")
_CONTINUATION = CONTINUATION.encode()
_CHUNK_BYTES = 65536


class LogCounts(NamedTuple):
    """What was written in a stretch of the log.

    Attributes:
        records: Records of any level, RAW included.
        warnings: Records of level WARNING.
        errors: Records of level ERROR or CRITICAL.
        bytes: Bytes of everything, continuation lines included.
        by_level: Records by the name of their level, without levels that did not occur.
    """

    records: int
    warnings: int
    errors: int
    bytes: int
    by_level: dict[str, int]


class LogCapture:
    """A file that takes the standard output and error of one process or of many.

    Hand it to ``subprocess`` as ``stdout`` and ``stderr``. Writes are appended, whoever writes. The file
    stays after `close`, as evidence; it can still be counted then.

    Args:
        directory: Where the file is made.

    Attributes:
        path: The file.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._fd, path = tempfile.mkstemp(prefix="output-", suffix=".log", dir=directory)
        self.path: Final = path
        # Without O_APPEND, processes that open the file by themselves would overwrite each other's lines.
        fcntl.fcntl(self._fd, fcntl.F_SETFL, os.O_APPEND)

    def fileno(self) -> int:
        """Return the file descriptor to write to; ValueError after `close`."""
        if self._fd < 0:
            raise ValueError(f"the capture in {self.path} is closed")
        return self._fd

    def close(self) -> None:
        """Close the file descriptor of this process; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def mark(self) -> int:
        """Return the offset in bytes behind the last complete line: the unfinished one comes after."""
        with open(self.path, "rb", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - _CHUNK_BYTES)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                end = start
        return 0

    def count(self, since: int = 0, until: int | None = None) -> LogCounts:
        """Count the records in a stretch of the log.

        A line that begins with the name of a level is a record. One that begins with :data:`CONTINUATION`
        belongs to a record before it. Any other line is a record of level RAW by itself.

        Args:
            since: Offset in bytes from `mark`.
            until: A later offset from `mark`; by default the end of the file at this moment, where an
                unfinished last line counts too.

        Raises:
            ValueError: The stretch does not lie in the file.
        """
        with open(self.path, "rb") as file:
            end = file.seek(0, os.SEEK_END) if until is None else until
            if not 0 <= since <= end <= file.seek(0, os.SEEK_END):
                raise ValueError(f"{self.path} has no stretch from byte {since} to {end}")
            file.seek(since)
            levels = Counter(_levels(_lines(file, end - since)))
        return LogCounts(
            records=levels.total(),
            warnings=levels["WARNING"],
            errors=levels["ERROR"] + levels["CRITICAL"],
            bytes=end - since,
            by_level=dict(levels),
        )


def _lines(file: IO[bytes], length: int) -> Iterator[bytes]:
    while length > 0:
        line = file.readline(length)
        length -= len(line)
        yield line


def _levels(lines: Iterator[bytes]) -> Iterator[str]:
    """Yield the level of each record."""
    for line in lines:
        record = _RECORD.match(line)
        if record:
            yield record[1].decode()
        elif not line.startswith(_CONTINUATION):
            yield RAW
