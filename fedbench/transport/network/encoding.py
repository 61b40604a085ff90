"""Encoding: messages on their way out, those of a broadcast once. Pure."""

from __future__ import annotations

from typing import NamedTuple

from fedbench.codec import heads
from fedbench.messages import RPC_REQUEST, RPC_RESPONSE, Message, snapshot, weight_bytes
from fedbench.transport.network.session import NO_BULK, Bulk


class Encoded(NamedTuple):
    """A message as it travels, and what it weighs.

    Attributes:
        head: What goes first, in one piece.
        bulk: What follows in chunks.
        nbytes: What it holds in memory, in bytes.
    """

    head: bytes
    bulk: Bulk
    nbytes: int


class Encoder:
    """Encodes the messages of a node.

    A broadcast is one message for many targets, who are no part of what travels: it is encoded for the first
    and shared with the others. Only the last is remembered, and only if it is small.
    """

    def __init__(self) -> None:
        self._last: Message | None = None
        self._encoded = Encoded(b"", NO_BULK, 0)

    def encode(self, message: Message) -> Encoded:
        """Return ``message`` as it travels.

        Raises:
            LocalProtocolError: As for :func:`~fedbench.messages.snapshot` and
                :func:`~fedbench.codec.heads.encode`.
        """
        model, last = message.tensors, self._last
        if last is not None and model is last.tensors and _same(message, last):
            return self._encoded
        head, parts = heads.encode(message, snapshot(message.body))
        nbytes = len(head)
        if parts:
            bulk = Bulk(*parts)
            nbytes += bulk.size
        else:
            bulk = NO_BULK
        kind = message.kind
        if kind is not RPC_REQUEST and kind is not RPC_RESPONSE:
            nbytes = max(nbytes, weight_bytes(message))
        encoded = Encoded(head, bulk, nbytes)
        if model is not None and not parts and message.body is None:
            self._last, self._encoded = message, encoded
        return encoded


def _same(one: Message, other: Message) -> bool:
    """Whether two messages with the same model, the second without a body, travel as the same bytes."""
    return (
        one.body is None
        and one.sent_ns == other.sent_ns
        and one.kind is other.kind
        and one.method == other.method
        and one.correlation_id == other.correlation_id
        and one.deadline_ns == other.deadline_ns
        and one.intended_ns == other.intended_ns
    )
