"""Who on a node wants to hear of what: subscriptions and handlers by event type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fedbench.messages import Kind, Message
from fedbench.transport.dispatch import Dispatcher, Handler, add_handler

if TYPE_CHECKING:
    from fedbench.transport.receipt import Delivery

EventHandler = Callable[[str, Any], Awaitable[object] | None]

_EVENTS = (Kind.MODEL_PUSH, Kind.CLIENT_NOTIFY)


class Events:
    """The handlers of a transport's nodes."""

    def __init__(self) -> None:
        self._subscribers: list[Handler] = []
        self._by_type: dict[str, list[Handler]] = {}
        self._dispatcher = Dispatcher()

    def subscribe(self, callback: Handler) -> Callable[[], None]:
        """Add a callback for every message; the result removes it, once."""
        return add_handler(self._subscribers, callback)

    def register(self, event_type: str, handler: EventHandler) -> Callable[[], None]:
        """Add ``handler(source, data)`` for one event type; the result removes it, once."""

        def unpack(message: Message) -> Awaitable[object] | None:
            return handler(message.source, message.body if message.tensors is None else message.tensors)

        return add_handler(self._by_type.setdefault(event_type, []), unpack)

    def dispatch(self, message: Message, delivery: Delivery) -> None:
        """Hand a message to all who want it; a message that nobody wants counts as applied."""
        handlers = [*self._subscribers]
        if message.kind in _EVENTS:
            handlers += self._by_type.get(message.method, ())
        self._dispatcher.run(handlers, message, delivery)

    async def close(self) -> None:
        """Cancel the handlers that still run, and forget all: nothing is heard any more."""
        self._subscribers.clear()
        self._by_type.clear()
        await self._dispatcher.close()
