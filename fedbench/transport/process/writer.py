"""Writer: puts messages and notes into the queue to the peer, in as few writes as they fit into."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from fedbench.codec.frames import GOODBYE, HEADER_BYTES, MAX_FRAME_BYTES, MESSAGE, NOTES, frame
from fedbench.transport.process.acks import encode_notes
from fedbench.transport.process.outbox import Outbox, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedbench.messages import Channel
    from fedbench.tensors.store import Handle
    from fedbench.transport.inbox import Limits
    from fedbench.transport.process.acks import Outstanding, Taken
    from fedbench.transport.receipt import Receipt

MAX_GOODBYE_BYTES = 2000


class Writer:
    """The end of a queue that is written. Each write is one that the kernel takes whole, or not at all.

    What the pipe has no room for waits in the outbox until the loop says that it has.

    Args:
        fd: The queue, non-blocking.
        limits: Bounds of the outbox.
        taken: What the peer is to be told of its own messages.
        outstanding: Where messages are counted as they are written.
        on_room: Called when nothing waits any more.
        on_broken: Called from the loop when nobody reads the queue any more.

    Attributes:
        blocked: Whether the pipe is full, so that messages wait.
    """

    def __init__(  # what it writes to, what it writes, and who is told
        self,
        fd: int,
        limits: Limits,
        taken: Taken,
        outstanding: Outstanding,
        on_room: Callable[[], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._taken = taken
        self._outstanding = outstanding
        self._outbox = Outbox(limits)
        self._on_room = on_room
        self._on_broken = on_broken
        self.blocked = False
        self._over = False

    def __str__(self) -> str:
        return str(self._outbox)

    @property
    def full(self) -> bool:
        """Whether nothing more may wait."""
        return self.blocked and self._outbox.full

    def send(
        self, channel: Channel, payload: bytes, receipt: Receipt, handles: tuple[Handle, ...], nbytes: int
    ) -> None:
        """Write a message, or let it wait in its lane if the pipe has no room.

        Args:
            channel: Its lane.
            payload: Its envelope.
            receipt: Its receipt.
            handles: What it lends, to be taken back if it is never sent.
            nbytes: What it weighs.
        """
        if not self.blocked and self._write((payload,)):
            self._outstanding.add(receipt)
            return
        self._outbox.add(channel, Waiting(payload, receipt, handles, nbytes))
        self._block()

    def flush(self) -> None:
        """Write what waits, control messages first, and what the peer has not been told; idempotent."""
        while self._outbox:
            batch = self._outbox.next_batch()
            if not self._write([waiting.payload for waiting in batch]):
                self._block()
                return
            for waiting in batch:
                self._outbox.pop()
                self._outstanding.add(waiting.receipt)
        if not self._write_notes():
            self._block()
            return
        self._unblock()
        self._on_room()

    def say_goodbye(self, reason: str) -> None:
        """Tell the peer that this side ends, and why, if the pipe has room for it."""
        self.flush()
        if not self.blocked:
            text = reason.encode(errors="replace")[:MAX_GOODBYE_BYTES]
            with contextlib.suppress(OSError):
                os.write(self._fd, frame(GOODBYE, text, self._taken.told))

    def close(self) -> list[Waiting]:
        """Write no more; return what was never written. The queue itself stays open."""
        self._unblock()
        self._over = True
        return self._outbox.clear()

    def _block(self) -> None:
        if not (self.blocked or self._over):
            self.blocked = True
            self._loop.add_writer(self._fd, self.flush)

    def _unblock(self) -> None:
        if self.blocked:
            self.blocked = False
            self._loop.remove_writer(self._fd)

    def _write(self, payloads: Sequence[bytes]) -> bool:
        """Write messages that fit into one write, notes with the first; False if the pipe has no room."""
        taken = self._taken
        notes, noted, acknowledged = None, b"", taken.count
        if taken.noted:
            notes, acknowledged = taken.notes()
            noted = encode_notes(notes)
            nbytes = sum(map(len, payloads)) + HEADER_BYTES * len(payloads) + len(noted)
            if nbytes > MAX_FRAME_BYTES or not taken.only(notes):
                if not self._write_notes():
                    return False
                notes, noted, acknowledged = None, b"", taken.count
        released = taken.released
        lease = released[0] if released else 0
        data = frame(MESSAGE, payloads[0], acknowledged, lease, noted)
        if len(payloads) > 1:
            data = b"".join((data, *(frame(MESSAGE, payload, acknowledged) for payload in payloads[1:])))
        try:
            os.write(self._fd, data)
        except OSError as error:
            return self._refused(error)
        taken.tell(acknowledged, lease, notes)
        return True

    def _write_notes(self) -> bool:
        """Write every note and acknowledgement; False if the pipe has no room, with the rest kept."""
        taken = self._taken
        while taken.pending:
            notes, acknowledged = taken.notes()
            lease = taken.released[0] if taken.released else 0
            if not self._write_bytes(frame(NOTES, b"", acknowledged, lease, encode_notes(notes))):
                return False
            taken.tell(acknowledged, lease, notes)
        return True

    def _write_bytes(self, data: bytes) -> bool:
        try:
            os.write(self._fd, data)
        except OSError as error:
            return self._refused(error)
        return True

    def _refused(self, error: OSError) -> bool:
        """The pipe has no room, or nobody reads it any more: return False; raise what is neither."""
        if isinstance(error, BrokenPipeError):
            if not self._over:
                self._over = True
                self._loop.call_soon(self._on_broken)  # not now: whoever sends is in the middle of something
        elif not isinstance(error, BlockingIOError):
            raise error
        return False
