"""Mail of the legacy architecture: who wants a message has to look for it, again and again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedbench.messages import Message


class Postbox(ABC):
    """Messages as a client meets them: by target and source, FIFO for each pair."""

    @abstractmethod
    def put(self, message: Message) -> None:
        """Leave a copy of ``message`` for its target.

        Raises:
            LocalProtocolError: Its body is not plain data.
        """

    @abstractmethod
    async def receive(self, target: str, source: str, timeout_s: float, interval_s: float) -> Message:
        """Look every ``interval_s`` seconds until there is a message.

        Raises:
            TimeoutError: There was none for ``timeout_s`` seconds.
        """


class Mail(Postbox):
    """Messages as their keeper meets them: looking takes no time."""

    @abstractmethod
    def look(self, target: str, source: str) -> Message | None:
        """Take the oldest message for ``target`` from ``source``, None if there is none."""

    @abstractmethod
    def withdraw(self, target: str, source: str, correlation_id: int) -> None:
        """Take back a request that nobody has taken yet, where that is possible."""

    @abstractmethod
    def forget(self, node_id: str) -> None:
        """Drop everything for or from a node, now and from now on: nobody will look for it."""

    async def receive(self, target: str, source: str, timeout_s: float, interval_s: float) -> Message:
        """Look every ``interval_s`` seconds until there is a message. Cancelling loses nothing.

        Raises:
            TimeoutError: There was none for ``timeout_s`` seconds.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while True:
            message = self.look(target, source)
            if message is not None:
                return message
            left_s = end_s - loop.time()
            if left_s <= 0:
                raise TimeoutError(f"{target} found nothing from {source} within {timeout_s} s")
            await asyncio.sleep(min(interval_s, left_s))
