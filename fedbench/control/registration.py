"""Registration: which clients a server has admitted, and the asking side of a client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fedbench.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Admissions:
    """The clients that a server has admitted, in order of admission."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}
        self.refused = 0

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._epochs

    def __iter__(self) -> Iterator[str]:
        return iter(self._epochs)

    def ids(self) -> tuple[str, ...]:
        """Return the admitted ids, oldest first."""
        return tuple(self._epochs)

    def admit(self, client_id: str, epoch: int) -> None:
        """Admit a client; a newer epoch takes the place of an older one, the same again changes nothing.

        Raises:
            RegistrationError: A newer connection of that client is registered already.
        """
        current = self._epochs.get(client_id)
        if current is not None and current > epoch:
            self.refused += 1
            raise RegistrationError(f"{client_id} is registered with epoch {current}: epoch {epoch} is over")
        self._epochs[client_id] = epoch

    def remove(self, client_id: str) -> bool:
        """Forget a client; False if it was not registered."""
        return self._epochs.pop(client_id, None) is not None


class PendingReplies:
    """Answers that a node awaits on the control channel, by peer."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._futures: dict[str, list[asyncio.Future[dict[str, object]]]] = {}

    async def ask(self, peer_id: str, question: Callable[[], object], timeout_s: float) -> dict[str, object]:
        """Send a question by calling ``question`` and wait for the answer. Cancelling leaves nothing behind.

        The first answer serves all who wait for that peer.

        Raises:
            RegistrationError: It did not answer in time, or is gone.
            Exception: What ``question`` raises.
        """
        future: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        waiting = self._futures.setdefault(peer_id, [])
        waiting.append(future)
        try:
            question()
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise RegistrationError(
                f"{peer_id} did not answer the {self._what} within {timeout_s} s"
            ) from None
        finally:
            waiting.remove(future)
            if not waiting:
                self._futures.pop(peer_id, None)

    def answer(self, peer_id: str, body: dict[str, object]) -> None:
        """The answer has come; no effect if nobody waits for it."""
        for future in self._futures.get(peer_id, ()):
            if not future.done():
                future.set_result(body)

    def fail(self, peer_id: str, reason: Exception) -> None:
        """The peer is gone."""
        for future in self._futures.get(peer_id, ()):
            if not future.done():
                future.set_exception(RegistrationError(f"{peer_id} is gone: {reason}"))
                future.exception()  # a question that raises leaves nobody to await it
