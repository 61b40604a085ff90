"""BareStack: what has operations of its own, but no federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.stacks.base import ASK_DEADLINE_S, FederationSpec, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedbench.tensors.model import ModelState
    from fedbench.values import History, RoundRecord


class BareStack:
    """A stack that offers nothing; those that derive from it offer what they can.

    Attributes:
        name: Its name.
        reason: Why it is no federation.
    """

    name = "bare"
    reason = "there is no federation here"

    async def start(self, spec: FederationSpec) -> None:
        """Unsupported."""
        raise self._unsupported()

    async def stop(self) -> None:
        """Nothing to take down."""

    async def ask(
        self, client: int, method: str, *, model: ModelState | None = None, deadline_s: float = ASK_DEADLINE_S
    ) -> Any:
        """Unsupported."""
        raise self._unsupported()

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        """Unsupported."""
        raise self._unsupported()

    def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
        """Unsupported."""
        raise self._unsupported()

    def on_notify(self, handler: Callable[[str, Any], None]) -> None:
        """Unsupported."""
        raise self._unsupported()

    async def place(self, model: ModelState) -> ModelState:
        """Unsupported."""
        raise self._unsupported()

    async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
        """Unsupported."""
        raise self._unsupported()

    async def run(
        self,
        *,
        on_round: Callable[[RoundRecord], None] | None = None,
        initial_model: ModelState | None = None,
    ) -> History:
        """Unsupported."""
        raise self._unsupported()

    def lose(self, client: int) -> None:
        """Unsupported."""
        raise self._unsupported()

    async def cut(self, for_s: float) -> int:
        """Unsupported."""
        raise self._unsupported()

    async def floor(self, operation: str, count: int) -> list[int]:
        """Unsupported."""
        raise self._unsupported()

    def _unsupported(self) -> Unsupported:
        return Unsupported(self.reason)
