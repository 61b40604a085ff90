"""Mailboxes of the legacy architecture: who wants a message has to look for it, again and again."""

from __future__ import annotations

import logging
from collections import deque

from msgspec.structs import replace

from fedbench.messages import Message, snapshot
from fedbench.polling.mail import Mail
from fedbench.tensors.model import ModelState

log = logging.getLogger("fedbench.polling")


class Mailboxes(Mail):
    """The mailboxes of one memory federation, one for each target and source. FIFO.

    Every message is copied on its way, its arrays too, and logged at DEBUG.

    Args:
        copy: False passes arrays by reference instead. They are read-only, so nobody can change another's.
    """

    def __init__(self, *, copy: bool = True) -> None:
        self._copy = copy
        self._boxes: dict[tuple[str, str], deque[Message]] = {}
        self._gone: set[str] = set()

    def put(self, message: Message) -> None:
        """Leave a copy of ``message`` for its target; mail for a node that was forgotten vanishes.

        Raises:
            LocalProtocolError: Its body is not plain data.
        """
        if message.target in self._gone:
            return
        tensors = message.tensors
        if tensors is not None and self._copy:
            tensors = ModelState.from_arrays(tensors, tensors.version)
        box = self._boxes.setdefault((message.target, message.source), deque())
        box.append(replace(message, body=snapshot(message.body), tensors=tensors))
        log.debug("%s -> %s: %s %s", message.source, message.target, message.kind.value, message.method)

    def look(self, target: str, source: str) -> Message | None:
        """Take the oldest message for ``target`` from ``source``, None if there is none."""
        box = self._boxes.get((target, source))
        return box.popleft() if box else None

    def withdraw(self, target: str, source: str, correlation_id: int) -> None:
        """Take back a request that nobody has taken yet; without effect otherwise."""
        box = self._boxes.get((target, source), ())
        kept = [message for message in box if message.correlation_id != correlation_id]
        if len(kept) < len(box):
            self._boxes[target, source] = deque(kept)

    def forget(self, node_id: str) -> None:
        """Drop everything for or from a node, now and from now on: nobody will look for it."""
        self._gone.add(node_id)
        for pair in [pair for pair in self._boxes if node_id in pair]:
            del self._boxes[pair]
