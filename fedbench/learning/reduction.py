"""Reduction: the updates of a round averaged off the event loop where they are large, by several threads."""

from __future__ import annotations

import asyncio
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fedbench.learning.aggregation import StreamingAverage

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.tensors.model import ModelState

THREADS = min(2, os.cpu_count() or 1)
"""More do not help: two saturate the memory of the machines this was measured on."""

LEAST_BYTES = 1 << 20
"""A model below this is reduced in the loop: a thread would cost more than it saves."""


class Reduction:
    """The average of one round under way. One event loop.

    Updates are reduced strictly in order of position, one after the other, each by all threads at once; the
    result does not depend on how many there are. An update is let go as soon as it has been reduced.

    Args:
        template: The global model.
        count: Number of positions.
    """

    def __init__(self, template: ModelState, count: int) -> None:
        self.average = StreamingAverage(template, count)
        self._large = template.nbytes >= LEAST_BYTES
        self._executor: ThreadPoolExecutor | None = None
        self._reducing: asyncio.Task[None] | None = None

    def add(self, position: int, model: ModelState, num_examples: int) -> None:
        """Take the update of a position; raises as :meth:`StreamingAverage.add`."""
        self._offer(position, (model, num_examples))

    def skip(self, position: int) -> None:
        """Settle a position that gives no update; raises as :meth:`StreamingAverage.skip`."""
        self._offer(position, None)

    async def settled(self) -> None:
        """Wait until every update whose turn has come is reduced. Cancelling still waits for the threads.

        Raises:
            Exception: What a reduction raised.
        """
        while self._reducing is not None:
            await _wholly(self._reducing)

    async def finish(self, version: int) -> ModelState:
        """Return the mean; see :meth:`StreamingAverage.finish`. Every position must be settled."""
        await self.settled()
        if not self._large or not self.average.num_examples:
            return self.average.finish(version)
        await _wholly(asyncio.ensure_future(self._in_parts(self.average.divide)))
        return self.average.freeze(version)

    async def close(self) -> None:
        """Wait for what is being reduced, and end the threads; idempotent."""
        await self.settled()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def _offer(self, position: int, update: tuple[ModelState, int] | None) -> None:
        self.average.offer(position, update)
        if not self._large:
            self.average.reduce_all()
        elif self._reducing is None:
            self._reducing = asyncio.get_running_loop().create_task(self._reduce())

    async def _reduce(self) -> None:
        try:
            while (turn := self.average.turn()) is not None:
                await self._in_parts(functools.partial(self.average.reduce, turn))
                del turn  # its memory is used again by whoever lent it
        finally:
            self._reducing = None

    async def _in_parts(self, work: Callable[[int, int], None]) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, "fedbench-reduce")
        run = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(*(run(self._executor, work, part, THREADS) for part in range(THREADS)))


async def _wholly(work: asyncio.Future[None]) -> None:
    """Await ``work`` to its end even if this is cancelled meanwhile: threads write to its memory."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
