"""The receiving side of one message between processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.transport.process.acks import Taken


class TakenMessage:
    """A message that has come and is handed over.

    Args:
        node_id: The node that takes it.
        taken: What is counted and told.
        on_finish: Called when handlers that ran on have returned.
    """

    __slots__ = ("_applied", "_error", "_node_id", "_number", "_on_finish", "_taken")

    def __init__(self, node_id: str, taken: Taken, on_finish: Callable[[], None]) -> None:
        self._node_id = node_id
        self._taken = taken
        self._on_finish = on_finish
        self._applied = False
        self._error: RemoteError | None = None
        self._number = 0

    def begin(self, nbytes: int) -> None:
        """Nothing to do: what is not applied when it is taken runs on."""

    def finish(self) -> None:
        """Nothing to do: the application tells it."""

    def apply(self, error: Exception | None = None) -> None:
        """The handlers have returned; only the first report counts."""
        if self._applied:
            return
        self._applied = True
        if error is not None:
            told = RemoteError(self._node_id, type(error).__name__, str(error))
            self._error = error if isinstance(error, RemoteError) else told
        if self._number:
            self._taken.finish(self._number, self._error)
            self._on_finish()

    def taken(self) -> None:
        """It has been handed over: count it."""
        self._number = self._taken.take(applied=self._applied, error=self._error)
