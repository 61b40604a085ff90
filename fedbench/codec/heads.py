"""Heads: a message as a small head and a bulk, and how it is put together again. Pure.

The head holds everything but the values of the model; source and target are the connection's own and do not
travel. A head that is too large for a frame travels as the beginning of the bulk instead. The values come
straight into the memory of the new model.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from fedbench.codec.envelope import KINDS, MAX_BODY_BYTES, MAX_METHOD_LENGTH
from fedbench.codec.wire import MAX_HEAD_BYTES
from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Kind, Message
from fedbench.tensors.layout import decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP, TensorStore

if TYPE_CHECKING:
    from fedbench.tensors.layout import Layout

MAX_MODEL_BYTES = 1 << 36
_PREFIX = Struct("<Q")  # size of a head that travels in the bulk; 0 if it follows at once
_INLINE = _PREFIX.pack(0)
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message without its ends and the values of its model.

    Attributes:
        kind: Its place in :data:`fedbench.codec.envelope.KINDS`.
        method: As in the message.
        correlation_id: As in the message.
        deadline_ns: As in the message, in the sender's time.
        sent_ns: As in the message, in the sender's time.
        intended_ns: As in the message, in the sender's time.
        body: Its body.
        layout: Encoded layout of its model, empty if it has none.
        version: Version of the model.
        nbytes: Size of the model's buffer in bytes.
    """

    kind: int
    method: str
    correlation_id: int
    deadline_ns: int
    sent_ns: int
    intended_ns: int
    body: Any
    layout: bytes = b""
    version: int = 0
    nbytes: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Head)


def encode(message: Message, body: Any) -> tuple[bytes, tuple[memoryview, ...]]:
    """Return ``message`` as a head that fits into a frame and the parts of a bulk.

    The values of the model are not copied.

    Args:
        message: The message; its ends, epoch and number do not travel.
        body: Its body, as :func:`fedbench.messages.snapshot` has returned it.

    Raises:
        LocalProtocolError: The method's name is longer than 512 bytes, an integer has more than 64 bits, a
            string holds half a surrogate pair, or all but the values is larger than 256 MiB.
    """
    if len(message.method) > MAX_METHOD_LENGTH:
        raise LocalProtocolError(
            f"a method name is longer than {MAX_METHOD_LENGTH}: {message.method[:40]!r}…"
        )
    head: tuple[Any, ...] = (
        _NUMBERS[message.kind],
        message.method,
        message.correlation_id,
        message.deadline_ns,
        message.sent_ns,
        message.intended_ns,
        body,
    )
    model = message.tensors
    if model is not None:
        head = (*head, model.layout.encoded, model.version, model.nbytes)
    values = () if model is None else (model.buffer,)
    try:
        data = _encoder.encode(head)
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise LocalProtocolError(f"the message cannot be encoded: {error}") from error
    if len(data) <= MAX_HEAD_BYTES - _PREFIX.size:
        return _INLINE + data, values
    if len(data) > MAX_BODY_BYTES:
        raise LocalProtocolError(
            f"a body of {len(data)} bytes exceeds the limit of {MAX_BODY_BYTES}: put arrays into a ModelState"
        )
    return _PREFIX.pack(len(data)), (memoryview(data), *values)


class Assembly:
    """One message on its way in.

    Args:
        payload: Its head.
        store: Where its model comes to lie.

    Attributes:
        size: Bytes of its bulk, as far as is known.
        received: Bytes of it that have come.

    Raises:
        RemoteProtocolError: It is no head, or describes a model that cannot be; the message says why.
        TensorStoreFull: The store has no room.
    """

    __slots__ = ("_block", "_buffer", "_head", "_layout", "_spilled", "_start", "_store", "received", "size")

    def __init__(self, payload: memoryview, store: TensorStore = HEAP) -> None:
        self._store = store
        self._head: Head | None = None
        self._layout: Layout | None = None
        self._spilled: bytearray | None = None
        self._buffer = memoryview(b"")
        self._start = 0
        self.size = self.received = 0
        if len(payload) < _PREFIX.size:
            raise RemoteProtocolError(f"a head of {len(payload)} bytes is truncated")
        (spilled,) = _PREFIX.unpack_from(payload)
        if not spilled:
            self._open(payload[_PREFIX.size :])
        elif len(payload) > _PREFIX.size or spilled > MAX_BODY_BYTES:
            raise RemoteProtocolError(f"a head claims {spilled} bytes of bulk for itself: refused")
        else:
            self._spilled = bytearray(spilled)
            self._buffer, self.size = memoryview(self._spilled), spilled

    @property
    def complete(self) -> bool:
        """Whether everything has come."""
        return self.received == self.size

    def feed(self, offset: int, chunk: memoryview) -> None:
        """Take the next chunk of the bulk.

        Raises:
            RemoteProtocolError: It is not the next one, or longer than what is left; or as for the head.
            TensorStoreFull: The store has no room.
        """
        if offset != self.received:
            raise RemoteProtocolError(f"a chunk at {offset} came, {self.received} is the next")
        start, end = offset - self._start, offset - self._start + len(chunk)
        if end > len(self._buffer):
            raise RemoteProtocolError(
                f"a chunk of {len(chunk)} bytes at {offset} exceeds the {self.size} bytes that were claimed"
            )
        self._buffer[start:end] = chunk
        self.received += len(chunk)
        if self._spilled is not None and end == len(self._spilled):
            head, self._spilled = self._spilled, None
            self._buffer, self._start = memoryview(b""), self.received
            self._open(memoryview(head))

    def message(self, local_id: str, peer_id: str, epoch: int, shift_ns: int = 0) -> Message:
        """Return the complete message.

        Args:
            local_id: The node that it has come to.
            peer_id: The node that it comes from.
            epoch: Epoch of the session.
            shift_ns: What is added to the sender's time to have this node's.
        """
        head = self._head
        assert head is not None
        return Message(
            KINDS[head.kind],
            peer_id,
            local_id,
            head.method,
            head.body,
            self._model(head),
            head.correlation_id,
            head.deadline_ns + shift_ns if head.deadline_ns else 0,
            epoch,
            0,
            head.sent_ns + shift_ns if head.sent_ns else 0,
            head.intended_ns + shift_ns if head.intended_ns else 0,
        )

    @property
    def kind(self) -> Kind:
        """Kind of the complete message."""
        assert self._head is not None
        return KINDS[self._head.kind]

    def _open(self, data: memoryview) -> None:
        try:
            head = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteProtocolError(f"a head cannot be read: {error}") from error
        if not 0 <= head.kind < len(KINDS):
            raise RemoteProtocolError(f"there is no kind of message with number {head.kind}")
        self._head = head
        if head.layout:
            self._make_room(head)
        elif head.nbytes:
            raise RemoteProtocolError(f"a head claims {head.nbytes} bytes for a model without a layout")

    def _make_room(self, head: Head) -> None:
        layout = decode_layout(head.layout)
        if layout.nbytes != head.nbytes or head.nbytes > MAX_MODEL_BYTES or head.version < 0:
            raise RemoteProtocolError(
                f"a model claims {head.nbytes} bytes and version {head.version}; its arrays have "
                f"{layout.nbytes} bytes, {MAX_MODEL_BYTES} is the most"
            )
        try:
            self._block = self._store.allocate(layout)
        except MemoryError as error:
            raise RemoteProtocolError(f"there is no memory for a model of {head.nbytes} bytes") from error
        self._layout = layout
        self._buffer = self._block.buffer
        self.size += layout.nbytes

    def _model(self, head: Head) -> ModelState | None:
        if self._layout is None:
            return None
        return ModelState(self._block, self._layout, head.version)
