"""Messages as payloads of a queue, with what is too large for one lent from shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.codec import envelope as envelopes
from fedbench.codec.envelope import KINDS
from fedbench.codec.frames import MAX_PAYLOAD_BYTES
from fedbench.messages import ATOMS, Message, snapshot

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from fedbench.codec.envelope import Envelope
    from fedbench.tensors.borrowed import Borrowed
    from fedbench.tensors.shared import SharedStore
    from fedbench.tensors.store import Handle
    from fedbench.transport.connection import Connection


def pack(message: Message, store: SharedStore, holder: Hashable) -> tuple[bytes, tuple[Handle, ...]]:
    """Return the envelope of a message, and what of ``store`` it lends to ``holder``.

    Raises:
        LocalProtocolError: The message holds what cannot be sent; nothing is lent then.
        TensorStoreFull: There is no room for its model or its body; likewise.
    """
    body = message.body
    if type(body) not in ATOMS:
        body = snapshot(body)
    tensors = None if message.tensors is None else store.lend(message.tensors, holder)
    handles = () if tensors is None else (tensors,)
    try:
        if not isinstance(body, str | bytes) or len(body) <= MAX_PAYLOAD_BYTES:
            payload = envelopes.encode(message, body, None, tensors)
            if len(payload) <= MAX_PAYLOAD_BYTES:
                return payload, handles
        bulk = store.lend_bytes(envelopes.encode_body(body), holder)
        handles = (bulk, *handles)
        return envelopes.encode(message, None, bulk, tensors), handles
    except BaseException:
        take_back(handles, store, holder)
        raise


def take_back(handles: Iterable[Handle], store: SharedStore, holder: Hashable) -> None:
    """End the leases of a message that was never sent."""
    store.release(holder, [handle.lease for handle in handles])


def unpack(envelope: Envelope, connection: Connection, borrowed: Borrowed) -> Message:
    """Return the message of an envelope that has come over ``connection``.

    Raises:
        RemoteProtocolError: Its body or its model is not what was lent.
    """
    body = envelope.body
    if envelope.bulk is not None:
        body = envelopes.decode_body(borrowed.read_bytes(envelope.bulk))
    tensors = None if envelope.tensors is None else borrowed.open(envelope.tensors)
    return Message(
        KINDS[envelope.kind],
        connection.peer_id,
        connection.local_id,
        envelope.method,
        body,
        tensors,
        envelope.correlation_id,
        envelope.deadline_ns,
        connection.epoch,
        0,
        envelope.sent_ns,
        envelope.intended_ns,
    )
