"""Logs of a federation: one file for each client, the rest on stderr."""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Self

from rich.console import Console
from rich.logging import RichHandler

from fedbench.childlog import LogSetup
from fedbench.ids import current_node

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class NodeLogs(logging.Handler):
    """Writes the records of each client's code to ``<folder>/<client>.log`` and the others to stderr.

    A file is made when its client logs something; one of an earlier run is replaced. A context manager:
    within, it is the root logger's handler.

    Args:
        folder: Where the files go; made when the first is.
        client_ids: The clients.
        stderr_level: Least level of what goes to stderr; files get INFO, or DEBUG if that is DEBUG.

    Attributes:
        written: Ids of the clients that have logged something.
    """

    def __init__(self, folder: Path, client_ids: Collection[str], stderr_level: int) -> None:
        super().__init__(min(stderr_level, logging.INFO))
        self.setFormatter(logging.Formatter(FORMAT))
        self._folder = folder
        self._client_ids = frozenset(client_ids)
        self._stderr = _stderr(stderr_level)
        self._files: dict[str, IO[str]] = {}
        self._elsewhere: frozenset[str] = frozenset()

    @property
    def written(self) -> list[str]:
        """Ids of the clients that have logged something."""
        return sorted({*self._files, *(node for node in self._elsewhere if self._path(node).exists())})

    def for_children(self) -> LogSetup:
        """Return how the processes of clients log: each to the same file as here; older ones go first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._elsewhere = self._client_ids
        for node_id in self._client_ids:
            self._path(node_id).unlink(missing_ok=True)
        folder = str(self._folder.resolve()).replace("{", "{{").replace("}", "}}")
        return LogSetup(self.level, FORMAT, f"{folder}/{{node}}.log")

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = (root.level, list(root.handlers))
        root.handlers[:] = [self]
        root.setLevel(self.level)
        return self

    def __exit__(self, *exc_info: object) -> None:
        root = logging.getLogger()
        root.setLevel(self._before[0])
        root.handlers[:] = self._before[1]
        for file in self._files.values():
            file.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record where it belongs. As with any handler, a failure is reported on stderr."""
        node_id = current_node.get()
        if node_id in self._client_ids:
            try:
                self._file(node_id).write(self.format(record) + "\n")
            except Exception:
                self.handleError(record)
        elif record.levelno >= self._stderr.level:
            self._stderr.emit(record)

    def _file(self, node_id: str) -> IO[str]:
        file = self._files.get(node_id)
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._path(node_id).open("w", encoding="utf-8", buffering=1)
            self._files[node_id] = file
        return file

    def _path(self, node_id: str) -> Path:
        return self._folder / f"{node_id}.log"


def _stderr(level: int) -> logging.Handler:
    """Return a handler for people at a terminal; for other readers one that breaks and leaves out nothing."""
    console = Console(stderr=True)
    if console.is_terminal:
        return RichHandler(level, console, show_path=False, markup=False, omit_repeated_times=False)
    plain = logging.StreamHandler()
    plain.setLevel(level)
    plain.setFormatter(logging.Formatter(FORMAT))
    return plain
