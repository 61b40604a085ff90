"""Outbox: the messages that wait to be written, control messages first. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fedbench.codec.frames import HEADER_BYTES, MAX_FRAME_BYTES
from fedbench.messages import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedbench.tensors.store import Handle
    from fedbench.transport.inbox import Limits
    from fedbench.transport.receipt import Receipt


class Waiting(NamedTuple):
    """A message that waits.

    Attributes:
        payload: Its envelope.
        receipt: Its receipt.
        handles: What it lends, to be taken back if it is never sent.
        nbytes: What it weighs.
    """

    payload: bytes
    receipt: Receipt
    handles: tuple[Handle, ...]
    nbytes: int


class Outbox:
    """Messages in the order in which they are to be sent.

    Args:
        limits: Bounds, as of every queue: an empty one takes a message of any size.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._control: deque[Waiting] = deque()
        self._business: deque[Waiting] = deque()
        self._nbytes = 0

    def __len__(self) -> int:
        return len(self._control) + len(self._business)

    def __iter__(self) -> Iterator[Waiting]:
        yield from self._control
        yield from self._business

    def __str__(self) -> str:
        return f"{len(self)} messages ({self._nbytes} bytes)"

    @property
    def full(self) -> bool:
        """Whether it takes no more."""
        return len(self) >= self._limits.messages or self._nbytes >= self._limits.nbytes

    def add(self, channel: Channel, waiting: Waiting) -> None:
        """Append a message to those of its lane."""
        (self._control if channel is Channel.CONTROL else self._business).append(waiting)
        self._nbytes += waiting.nbytes

    def next_batch(self) -> list[Waiting]:
        """Return the next messages, as many as fit into one write; none if there are none."""
        batch: list[Waiting] = []
        nbytes = 0
        for waiting in self:
            nbytes += HEADER_BYTES + len(waiting.payload)
            if batch and nbytes > MAX_FRAME_BYTES:
                break
            batch.append(waiting)
        return batch

    def pop(self) -> None:
        """Remove the first of what :meth:`next_batch` returns."""
        self._nbytes -= (self._control or self._business).popleft().nbytes

    def clear(self) -> list[Waiting]:
        """Remove and return all."""
        all_of_them = list(self)
        self._control.clear()
        self._business.clear()
        self._nbytes = 0
        return all_of_them
