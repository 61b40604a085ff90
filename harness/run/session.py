"""The worker's end of the conversation with the measuring parent."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harness.run.pauses import Pauses
from harness.run.protocol import GO, Begin, End, Event, Hold, Sample, encode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

TIMEOUT_TEXT = "receive timed out"


class ParentGone(Exception):
    """The measuring process is gone: there is nobody to measure for."""


class RecordCounter(logging.Handler):
    """Counts log records by level; keeps the texts of those from WARNING on only while asked to.

    Attributes:
        counts: Records by level number.
        warnings: Where texts go, None while nobody asked: formatting costs time inside the measured process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[int] = Counter()
        self.warnings: list[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record. As with any handler, one that cannot be formatted is reported on stderr."""
        self.counts[record.levelno] += 1
        if self.warnings is not None and record.levelno >= logging.WARNING:
            try:
                self.warnings.append(record.getMessage())
            except Exception:
                self.handleError(record)


class WorkerSession:
    """Speaks for the worker; satisfies :class:`harness.workloads.base.Session`.

    Args:
        reader: Answers of the parent.
        event_fd: Where messages to the parent are written.
        counter: What the root logger counts.

    Attributes:
        logged: Records counted while measured.
        pauses: Garbage collections while measured.
    """

    def __init__(self, reader: asyncio.StreamReader, event_fd: int, counter: RecordCounter) -> None:
        self._reader = reader
        self._event_fd = event_fd
        self._counter = counter
        self._counter.warnings = None
        self.logged = 0
        self.pauses = Pauses()

    @asynccontextmanager
    async def measured(self, *, memory: bool = False, densely: bool = False) -> AsyncIterator[None]:
        """Have everything within measured from outside."""
        await self._ask(Begin(memory, densely))
        before = self._counter.counts.total()
        with self.pauses.noted():
            yield
        self.logged += self._counter.counts.total() - before
        await self._ask(End())

    async def hold(self, seconds: float) -> None:
        """Do nothing for a while that the parent times."""
        await self._ask(Hold(seconds))

    async def sample_memory(self) -> None:
        """Have memory sampled now."""
        await self._ask(Sample())

    def keep_warnings(self) -> None:
        """Keep the texts of records from WARNING on, from now on."""
        self._counter.warnings = []

    def warnings_naming(self, node_id: str) -> int:
        """Return how many of the kept records name a node, timeouts of polling aside."""
        name = re.compile(rf"(?<![\w.-]){re.escape(node_id)}(?![\w-])")
        kept = self._counter.warnings or []
        return sum(name.search(text) is not None for text in kept if not text.startswith(TIMEOUT_TEXT))

    def tell(self, event: Event) -> None:
        """Send a message that has no answer."""
        data = encode(event)
        while data:
            data = data[os.write(self._event_fd, data) :]

    async def _ask(self, event: Event) -> None:
        self.tell(event)
        answer = await self._reader.readline()
        if answer != GO:
            raise ParentGone("the measuring process is gone")
