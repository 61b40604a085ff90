"""Registration: which clients a server has admitted, and the asking side of a client."""

from __future__ import annotations

import asyncio

from fedbench.errors import RegistrationError


class Admissions:
    """The clients that a server has admitted, in order of admission."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}
        self.refused = 0

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._epochs

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
        self._futures: dict[str, asyncio.Future[dict[str, object]]] = {}

    async def wait(self, peer_id: str, timeout_s: float) -> dict[str, object]:
        """Wait for the answer announced by :meth:`expect`. Cancelling leaves nothing behind.

        Raises:
            RegistrationError: It did not answer in time, or is gone.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._futures[peer_id]
        except TimeoutError:
            raise RegistrationError(f"{peer_id} did not answer the {self._what} within {timeout_s} s") from None
        finally:
            self._futures.pop(peer_id, None)

    def expect(self, peer_id: str) -> None:
        """Begin to await an answer, before the question is sent."""
        self._futures[peer_id] = asyncio.get_running_loop().create_future()

    def answer(self, peer_id: str, body: dict[str, object]) -> bool:
        """The answer has come; False if nobody waits for it."""
        future = self._futures.get(peer_id)
        if future is None or future.done():
            return False
        future.set_result(body)
        return True

    def fail(self, peer_id: str, reason: Exception) -> None:
        """The peer is gone."""
        future = self._futures.get(peer_id)
        if future is not None and not future.done():
            future.set_exception(RegistrationError(f"{peer_id} is gone: {reason}"))
            future.exception()
