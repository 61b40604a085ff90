"""Calling handlers with a message: plain functions at once, coroutines as tasks, in order of arrival."""

from __future__ import annotations

import asyncio
import functools
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from fedbench.clock import LoopClock
from fedbench.errors import ConnectionClosed, RemoteError
from fedbench.ids import current_node
from fedbench.messages import Message, weight_bytes
from fedbench.throttle import Throttle

if TYPE_CHECKING:
    from contextvars import Context

    from fedbench.clock import Clock
    from fedbench.transport.receipt import Delivery

log = logging.getLogger("fedbench.transport")

Handler = Callable[[Message], Awaitable[object] | None]


def describe(node_id: str, error: BaseException) -> RemoteError:
    """Return ``error`` as the other node is told of it."""
    return RemoteError(node_id, type(error).__name__, str(error), "".join(traceback.format_exception(error)))


def add_handler(handlers: list[Handler], handler: Handler) -> Callable[[], None]:
    """Append a handler; the result removes it, once, however often it is called."""
    handlers.append(handler)
    there = True

    def remove() -> None:
        nonlocal there
        if there:
            there = False
            handlers.remove(handler)

    return remove


class Dispatcher:
    """Runs one node's handlers. A message is applied when all of them have returned.

    A handler that raises is reported to the sender as :class:`RemoteError` and leaves one WARNING here, of
    many alike one a minute; the other handlers run all the same. A ``CancelledError`` counts as raised unless
    the handler's task is being cancelled. While one runs, :data:`fedbench.ids.current_node` is the receiving
    node.

    Args:
        context: Context that coroutine handlers run in, None for a copy of the caller's.
        clock: Time, None for that of the loop.
    """

    def __init__(self, context: Context | None = None, clock: Clock | None = None) -> None:
        self._context = context
        self._throttle = Throttle(log, clock or LoopClock())
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, handlers: Sequence[Handler], message: Message, delivery: Delivery) -> None:
        """Call each handler in order and apply ``delivery`` when the last has returned."""
        error: BaseException | None = None
        pending: list[Awaitable[object]] = []
        token = current_node.set(message.target)
        try:
            for handler in handlers:
                try:
                    result = handler(message)
                except (Exception, asyncio.CancelledError) as raised:
                    error = error or raised
                    self._warn(message, raised)
                else:
                    if result is not None:
                        pending.append(result)
            if pending:
                task = asyncio.get_running_loop().create_task(
                    self._finish(pending, error, message, delivery), context=self._context
                )
                self._tasks.add(task)
                delivery.begin(weight_bytes(message))
                task.add_done_callback(functools.partial(self._ended, pending, message, delivery))
                return
        finally:
            current_node.reset(token)
        delivery.apply(None if error is None else describe(message.target, error))

    async def apply(self, handlers: Sequence[Handler], message: Message) -> None:
        """Call each handler, wait until it has returned, and log what it raises."""
        for handler in handlers:
            try:
                result = handler(message)
                if result is not None:
                    await result
            except (Exception, asyncio.CancelledError) as raised:
                _reraise_own_cancelling(raised)
                self._warn(message, raised)

    async def close(self) -> None:
        """Cancel the handlers that still run and wait until they have ended; their messages count as failed.

        A handler that calls this is not cancelled and not waited for.
        """
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._throttle.close()

    async def _finish(
        self,
        pending: list[Awaitable[object]],
        error: BaseException | None,
        message: Message,
        delivery: Delivery,
    ) -> None:
        late = await self._settle(pending, message)
        error = error or late
        delivery.finish()
        delivery.apply(None if error is None else describe(message.target, error))

    def _ended(
        self, pending: list[Awaitable[object]], message: Message, delivery: Delivery, task: asyncio.Task[None]
    ) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            for awaitable in pending:
                if asyncio.iscoroutine(awaitable):
                    awaitable.close()  # cancelled before it began
            cause = ConnectionClosed(f"{message.target} was closed before its handler returned")
            delivery.finish()
            delivery.apply(describe(message.target, cause))

    async def _settle(self, pending: Sequence[Awaitable[object]], message: Message) -> BaseException | None:
        """Await what handlers left to await, one after the other, and return the first error."""
        error: BaseException | None = None
        for awaitable in pending:
            try:
                await awaitable
            except (Exception, asyncio.CancelledError) as raised:
                _reraise_own_cancelling(raised)
                error = error or raised
                self._warn(message, raised)
        return error

    def _warn(self, message: Message, error: BaseException) -> None:
        self._throttle.warning(
            (message.source, message.kind, type(error)),
            "%s: a handler of %s from %s raised %s: %s",
            message.target,
            message.kind.value,
            message.source,
            type(error).__name__,
            error,
            exc_info=error,
        )


def _reraise_own_cancelling(raised: BaseException) -> None:
    """Let a ``CancelledError`` go on if the running task is what is being cancelled."""
    task = asyncio.current_task()
    if isinstance(raised, asyncio.CancelledError) and task is not None and task.cancelling():
        raise raised
