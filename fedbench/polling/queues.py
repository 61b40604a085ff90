"""Queues of the legacy architecture: one ``multiprocessing.Queue`` for each pair of target and source."""

from __future__ import annotations

import asyncio
import logging
import queue
from typing import TYPE_CHECKING, Any

import numpy as np

from fedbench.messages import Kind, Message, snapshot
from fedbench.polling.mail import Mail
from fedbench.tensors.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.context import BaseContext
    from multiprocessing.queues import Queue

    Queues = Mapping[tuple[str, str], Queue[Any]]

log = logging.getLogger("fedbench.polling")

NO_TIME_S = 1e-6
"""What is left of a timeout after a whole interval, if it is less, is an error of rounding."""


class QueueMail(Mail):
    """The queues of one process. Each has one process that puts and one that looks.

    Messages are pickled, their arrays too. They are copied before, because the queue's own thread pickles
    later. What was put cannot be taken back: its reader sees that its deadline has passed.

    Args:
        queues: By target and source; a pair without one never has mail.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = dict(queues)

    def put(self, message: Message) -> None:
        """Leave a copy of ``message`` for its target; mail for a node that was forgotten vanishes."""
        to = self._queues.get((message.target, message.source))
        if to is not None:
            to.put(flatten(message))
            log.debug("%s -> %s: %s %s", message.source, message.target, message.kind.value, message.method)

    def look(self, target: str, source: str) -> Message | None:
        """Take the oldest message for ``target`` from ``source``, None if there is none."""
        box = self._queues.get((target, source))
        if box is None:
            return None
        try:
            return restore(box.get_nowait())
        except queue.Empty:
            return None

    async def receive(self, target: str, source: str, timeout_s: float, interval_s: float) -> Message:
        """Look every ``interval_s`` seconds until there is a message. Cancelling loses nothing.

        The look at the very end is left to the next receive: one after the other look every ``interval_s``.

        Raises:
            TimeoutError: There was none for ``timeout_s`` seconds.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while (message := self.look(target, source)) is None:
            left_s = end_s - loop.time()
            await asyncio.sleep(max(min(interval_s, left_s), 0))
            if left_s < interval_s + NO_TIME_S:
                raise TimeoutError(f"{target} found nothing from {source} within {timeout_s} s")
        return message

    def withdraw(self, target: str, source: str, correlation_id: int) -> None:
        """Do nothing: other processes have the queue."""

    def forget(self, node_id: str) -> None:
        """Close the queues to and from a node; what it has not read is lost."""
        for pair in [pair for pair in self._queues if node_id in pair]:
            drop(self._queues.pop(pair))


def make(context: BaseContext) -> Queue[Any]:
    """Return a new queue whose thread does not mind that its reader is gone."""
    made = context.Queue()
    made._ignore_epipe = True  # type: ignore[attr-defined]  # or it would print a traceback
    return made


def drop(box: Queue[Any]) -> None:
    """Close a queue whose other process is gone, and end its thread.

    That may be stuck in a write that nobody will read: only closing the last end to read from wakes it.
    """
    box._reader.close()  # type: ignore[attr-defined]
    box.close()
    box.join_thread()


def flatten(message: Message) -> tuple[Any, ...]:
    """Return a copy of a message that can be pickled.

    Raises:
        LocalProtocolError: Its body is not plain data.
    """
    model = message.tensors
    arrays = None if model is None else [(name, np.array(array)) for name, array in model.items()]
    return (
        message.kind.value,
        message.source,
        message.target,
        message.method,
        snapshot(message.body),
        None if arrays is None or model is None else (model.version, arrays),
        message.correlation_id,
        message.deadline_ns,
        message.sent_ns,
    )


def restore(flat: tuple[Any, ...]) -> Message:
    """Return the message that :func:`flatten` was given."""
    kind, source, target, method, body, model, correlation_id, deadline_ns, sent_ns = flat
    tensors = None if model is None else ModelState.from_arrays(dict(model[1]), model[0])
    return Message(
        Kind(kind), source, target, method, body, tensors, correlation_id, deadline_ns, sent_ns=sent_ns
    )
