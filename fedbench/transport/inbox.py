"""Bounded first-in-first-out queues of ``DATA`` messages, awaited and never looked at twice."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.errors import Overloaded
from fedbench.messages import Message, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


class Limits(NamedTuple):
    """Bounds of one queue.

    A queue takes messages until it reaches one of the bounds. So an empty one takes a message of any size
    (else a model larger than the bound could never pass), and what waits exceeds ``nbytes`` by less than
    one message.

    Attributes:
        messages: Most messages that may wait.
        nbytes: Bytes, as :func:`fedbench.messages.weight_bytes` estimates them, at which a queue is full.
    """

    messages: int = 1024
    nbytes: int = 1 << 30


UNBOUNDED = Limits(sys.maxsize, sys.maxsize)
"""For a queue that whoever sends keeps within bounds."""


class Inbox:
    """``DATA`` messages from one source to one target.

    Receivers are served in the order in which they asked. A message leaves the queue only when its receiver
    runs, so a receiver that was cancelled takes nothing and changes no order.

    Args:
        limits: Its bounds.

    Attributes:
        on_taken: Called after a receiver has taken a message, where the sender has to be told of it.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: deque[Message] = deque()
        self._nbytes = 0
        self._turn = asyncio.Lock()
        self._arrival: asyncio.Future[None] | None = None
        self._receivers = 0
        self._space: deque[asyncio.Future[bool]] = deque()
        self._ended: Exception | None = None
        self.on_taken: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._messages)

    def full(self, coming: int = 0, coming_bytes: int = 0) -> bool:
        """Whether :meth:`put` would refuse, once ``coming`` more messages of ``coming_bytes`` are in."""
        return (
            len(self._messages) + coming >= self._limits.messages
            or self._nbytes + coming_bytes >= self._limits.nbytes
        )

    async def space(self) -> None:
        """Wait until there is room, or the source is gone, be it for a moment only.

        Cancelling leaves nothing behind.
        """
        there = True
        while there and self.full() and self._ended is None:
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._space.append(future)
            try:
                there = await future
            finally:
                if future in self._space:  # cancelled
                    self._space.remove(future)
                if not self.full():  # room for more than one, or the room of one that was cancelled
                    self._wake_one()

    def put(self, message: Message) -> None:
        """Append a message and wake the receiver that has waited longest.

        Raises:
            Overloaded: The queue is full.
        """
        if self.full():
            raise Overloaded(
                f"{message.target} has {len(self._messages)} messages ({self._nbytes} bytes) from "
                f"{message.source} that nobody has received"
            )
        self._messages.append(message)
        self._nbytes += weight_bytes(message)
        self._wake_receiver()

    @property
    def idle(self) -> bool:
        """Whether nothing waits in it and nobody waits for it."""
        return not (self._messages or self._receivers or self._space)

    async def get(self) -> Any:
        """Take the oldest message's data; wait for one if there is none. Cancelling loses nothing.

        Raises:
            ConnectionBroken: There is none and the source is gone.
            ConnectionClosed: There is none and this side closed the connection.
        """
        self._receivers += 1
        try:
            async with self._turn:
                while not self._messages:
                    if self._ended is not None:
                        raise self._ended.with_traceback(None)
                    self._arrival = asyncio.get_running_loop().create_future()
                    await self._arrival
                message = self._messages.popleft()
        finally:
            self._receivers -= 1
        self._nbytes -= weight_bytes(message)
        self._wake_one()
        if self.on_taken is not None:
            self.on_taken()
        return message.body if message.tensors is None else message.tensors

    def end(self, reason: Exception) -> None:
        """The source is gone: waiting receivers get ``reason``; what has arrived can still be taken."""
        self._ended = reason
        self._wake_receiver()
        self._dismiss()

    def reopen(self) -> None:
        """The source is back; what arrived before can still be taken. Who waits for room is let go."""
        self._ended = None
        self._dismiss()

    def _wake_receiver(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _wake_one(self) -> None:
        while self._space:
            waiter = self._space.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return

    def _dismiss(self) -> None:
        """Let go all who wait for room: they waited for a connection that is over."""
        while self._space:
            waiter = self._space.popleft()
            if not waiter.done():
                waiter.set_result(False)
