"""Link: what carries the frames of a connection, until it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from fedbench.codec.wire import Parts

LARGE_BYTES = 64 << 10
"""Behind a frame of this size everything else gets its turn: the kernel may take a whole model at once."""


class Carrier(Protocol):
    """A link as its connection sees it.

    Attributes:
        heard_ns: Monotonic time at which something came.
    """

    heard_ns: int

    def wake(self) -> None:
        """There is something to be sent, with what comes until the end of this turn of the loop."""
        ...

    def flush(self) -> None:
        """There is something to be sent."""
        ...

    def finish(self, last: list[Parts]) -> None:
        """Send these frames, then end in order."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


class Link(Carrier, Protocol):
    """A link as its transport sees it.

    Attributes:
        over: Done when it is over, from whichever side and for whatever reason.
    """

    over: asyncio.Future[None]

    def run(self) -> None:
        """Begin to read and write; idempotent."""
        ...


class Owner(Protocol):
    """Whose frames a link carries."""

    def next_frame(self) -> Parts | None:
        """Return what is to be sent next; None if there is nothing: the link is woken when there is."""
        ...

    def frame_came(self, link: Carrier, data: memoryview) -> None:
        """Take a frame, whose bytes are valid during the call only. It must not raise."""
        ...

    def frame_refused(self, link: Carrier, reason: str) -> None:
        """What came is no frame. It must not raise."""
        ...
