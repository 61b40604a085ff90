"""Envelopes: a message as bytes, with what is too large for a frame left where it lies. Pure.

msgpack by msgspec. Source and target are the connection's own and do not travel: a peer cannot forge them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Kind, Message
from fedbench.tensors.store import Handle

MAX_BODY_BYTES = 256 << 20
MAX_METHOD_LENGTH = 512

KINDS = tuple(Kind)
"""Kinds of messages by their number in an envelope."""
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message without its ends.

    Attributes:
        kind: Its place in :data:`KINDS`.
        method: As in the message.
        correlation_id: As in the message.
        deadline_ns: As in the message: both ends share one clock.
        sent_ns: As in the message.
        intended_ns: As in the message.
        body: Its body; None if it lies in shared memory.
        bulk: Where the encoded body lies if not here.
        tensors: Where its model lies, None if it has none.
    """

    kind: int
    method: str
    correlation_id: int
    deadline_ns: int
    sent_ns: int
    intended_ns: int
    body: Any
    bulk: Handle | None = None
    tensors: Handle | None = None


_encoder = msgspec.msgpack.Encoder()
_envelopes = msgspec.msgpack.Decoder(Envelope)
_bodies = msgspec.msgpack.Decoder()
_UNENCODABLE = (OverflowError, UnicodeEncodeError, ValueError)


def encode_body(body: Any) -> bytes:
    """Return plain data, as :func:`fedbench.messages.snapshot` has returned it, as bytes.

    Raises:
        LocalProtocolError: An integer has more than 64 bits, a string holds half a surrogate pair, or it is
            larger than 256 MiB.
    """
    try:
        data = _encoder.encode(body)
    except _UNENCODABLE as error:
        raise LocalProtocolError(f"the body cannot be encoded: {error}") from error
    if len(data) > MAX_BODY_BYTES:
        raise LocalProtocolError(
            f"a body of {len(data)} bytes exceeds the limit of {MAX_BODY_BYTES}: put arrays into a ModelState"
        )
    return data


def encode(message: Message, body: Any, bulk: Handle | None, tensors: Handle | None) -> bytes:
    """Return the envelope of ``message`` as bytes.

    Args:
        message: The message; its ends, epoch and number do not travel.
        body: Its body, as :func:`fedbench.messages.snapshot` has returned it; None if it travels as ``bulk``.
        bulk: Where the encoded body lies if it is too large to travel itself.
        tensors: Where the model lies.

    Raises:
        LocalProtocolError: The method is no text or longer than 512 characters, a number or time is no
            integer, or as for :func:`encode_body`.
    """
    method = message.method
    if type(method) is not str or len(method) > MAX_METHOD_LENGTH:
        raise LocalProtocolError(
            f"no method is called {method!r:.80}: use up to {MAX_METHOD_LENGTH} characters"
        )
    call, deadline_ns, sent_ns, intended_ns = (
        message.correlation_id,
        message.deadline_ns,
        message.sent_ns,
        message.intended_ns,
    )
    if not (type(call) is type(deadline_ns) is type(sent_ns) is type(intended_ns) is int):
        raise LocalProtocolError(f"numbers and times of a message are whole: {message!r:.300}")
    try:
        return _encoder.encode(
            Envelope(
                _NUMBERS[message.kind],
                method,
                call,
                deadline_ns,
                sent_ns,
                intended_ns,
                body,
                bulk,
                tensors,
            )
        )
    except _UNENCODABLE as error:
        raise LocalProtocolError(f"the message cannot be encoded: {error}") from error


def decode(payload: bytes) -> Envelope:
    """Return the envelope that ``payload`` holds.

    Raises:
        RemoteProtocolError: It holds none.
    """
    try:
        envelope = _envelopes.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"an envelope cannot be read: {error}") from error
    if not 0 <= envelope.kind < len(KINDS):
        raise RemoteProtocolError(f"there is no kind of message with number {envelope.kind}")
    return envelope


def decode_body(data: bytes) -> Any:
    """Return the plain data that :func:`encode_body` encoded.

    Raises:
        RemoteProtocolError: ``data`` is something else.
    """
    try:
        return _bodies.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"a body cannot be read: {error}") from error
