"""GlobalModel: what a server's stub dispatches to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedbench.tensors.model import ModelState


class GlobalModel:
    """The server's side of calls: answers with the global model and hands on notifications.

    Attributes:
        model: The newest global model, None before training.
        at_once: The methods that it answers: name to what gives the answer.
    """

    def __init__(self) -> None:
        self.model: ModelState | None = None
        self.at_once: dict[str, Callable[[Any, ModelState | None], tuple[Any, ModelState | None]]] = {
            "ping": lambda body, tensors: (body, tensors),
            "get_model": self._get_model,
        }
        self._handlers: list[Callable[[str, Any], Awaitable[None] | None]] = []

    def on_notify(self, handler: Callable[[str, Any], Awaitable[None] | None]) -> None:
        """Call ``handler(event_type, data)`` with every notification from a client."""
        self._handlers.append(handler)

    async def call(self, method: str, body: Any, tensors: ModelState | None) -> tuple[Any, ModelState | None]:
        """Answer ``get_model`` with the global model and ``ping`` with what came.

        Raises:
            LookupError: There is no global model yet.
            PermissionError: Any other method.
        """
        run = self.at_once.get(method)
        if run is None:
            raise PermissionError(
                f"a server answers get_model, ping, subscribe and unsubscribe, not {method}"
            )
        return run(body, tensors)

    def _get_model(self, body: Any, tensors: ModelState | None) -> tuple[Any, ModelState | None]:
        if self.model is None:
            raise LookupError("there is no global model yet: training has not begun")
        return None, self.model

    def model_update(self, model: ModelState) -> None:
        """Refuse: a server makes models, it is not pushed any.

        Raises:
            PermissionError: Always.
        """
        raise PermissionError("models are pushed by the server, not to it: return them from train")

    async def event(self, event_type: str, data: Any) -> None:
        """Hand a notification to every handler in order."""
        for handler in self._handlers:
            result = handler(event_type, data)
            if result is not None:
                await result
