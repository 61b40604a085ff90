"""Logging of child processes: set up as in the process that starts them."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from fedbench.ids import current_node

if TYPE_CHECKING:
    from collections.abc import Mapping


class LineFormatter(logging.Formatter):
    """Marks the further lines of a record, so that who reads the log knows what belongs together.

    Args:
        format: As for :class:`logging.Formatter`.
        continuation: What every line of a record but the first begins with: of its message, its traceback and
            its stack.
    """

    def __init__(self, format: str, continuation: str) -> None:
        super().__init__(format)
        self.continuation = continuation

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, its further lines marked."""
        return super().format(record).replace("\n", f"\n{self.continuation}")


class LogSetup(NamedTuple):
    """How a process logs to its standard error, as plain data.

    Attributes:
        level: Level of the root logger.
        format: Format of its records, None to leave it to Python.
        file: File to write to, with ``{node}`` for the id of the node; None for standard error.
        levels: Levels of the project's loggers that have one of their own, by name.
        continuation: As for :class:`LineFormatter`.
    """

    level: int
    format: str | None
    file: str | None = None
    levels: Mapping[str, int] = {}
    continuation: str = ""


@runtime_checkable
class SetsUpChildren(Protocol):
    """A handler of the root logger that knows how child processes are to log."""

    def for_children(self) -> LogSetup:
        """Return how."""
        ...


def describe() -> LogSetup:
    """Return how the children of this process are to log: by default as it does."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, SetsUpChildren):
            return handler.for_children()
    formatters = [
        handler.formatter or logging.Formatter(logging.BASIC_FORMAT)
        for handler in root.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
    own = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if name.split(".")[0] == "fedbench" and isinstance(logger, logging.Logger) and logger.level
    }
    if not formatters:
        return LogSetup(root.level, None, levels=own)
    continuation = formatters[0].continuation if isinstance(formatters[0], LineFormatter) else ""
    return LogSetup(root.level, formatters[0]._fmt, levels=own, continuation=continuation)


def configure(setup: LogSetup, node_id: str) -> None:
    """Log in this process as ``setup`` says, as the node ``node_id``; for a process that has just begun."""
    current_node.set(node_id)
    root = logging.getLogger()
    for inherited in list(root.handlers):
        root.removeHandler(inherited)  # what a parent in the middle of something has left behind
    root.setLevel(setup.level)
    if setup.format is not None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        if setup.file is not None:
            handler = logging.FileHandler(setup.file.format(node=node_id), "a", "utf-8", delay=True)
        handler.setFormatter(LineFormatter(setup.format, setup.continuation))
        root.addHandler(handler)
    for name, level in setup.levels.items():
        logging.getLogger(name).setLevel(level)
