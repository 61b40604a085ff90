"""Heads: a message as a small head and a bulk, and how it is put together again. Pure.

The head holds everything but the values of the model; source and target are the connection's own and do not
travel. The values of a small model travel behind the head in its frame; those of a larger one are the bulk,
and come straight into the memory of the new model. A head that is too large for a frame travels as the
beginning of the bulk.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fedbench.codec.envelope import KINDS, MAX_BODY_BYTES, MAX_METHOD_LENGTH
from fedbench.codec.wire import MAX_HEAD_BYTES
from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Message
from fedbench.tensors.layout import decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP, TensorStore

if TYPE_CHECKING:
    from fedbench.tensors.layout import Layout
    from fedbench.tensors.store import Block

MAX_MODEL_BYTES = 1 << 36
_PREFIX = Struct("<II")  # bytes of a head that follows, and of one that travels in the bulk: one of them is 0
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


class Encoded(NamedTuple):
    """A message on its way out.

    Attributes:
        head: What fits into one frame.
        bulk: What follows in chunks, if anything: the values of the model lie where they did.
    """

    head: bytes
    bulk: tuple[memoryview, ...]


def encode(message: Message, body: Any) -> Encoded:
    """Return ``message`` as a head and a bulk.

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
    try:
        data = _encoder.encode(head)
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise LocalProtocolError(f"the message cannot be encoded: {error}") from error
    nbytes = len(data)
    room = MAX_HEAD_BYTES - _PREFIX.size - nbytes
    if room >= 0:
        prefix = _PREFIX.pack(nbytes, 0)
        if model is None:
            return Encoded(prefix + data, ())
        if model.nbytes <= room:
            return Encoded(b"".join((prefix, data, model.buffer)), ())
        return Encoded(prefix + data, (model.buffer,))
    if nbytes > MAX_BODY_BYTES:
        raise LocalProtocolError(
            f"a body of {nbytes} bytes exceeds the limit of {MAX_BODY_BYTES}: put arrays into a ModelState"
        )
    return Encoded(_PREFIX.pack(0, nbytes), (memoryview(data), *(() if model is None else (model.buffer,))))


class Arrived(msgspec.Struct, frozen=True):
    """A message that has come in full.

    Attributes:
        head: All of it but its model.
        model: Its model, None if it has none.
        nbytes: What has come in chunks, in bytes.
    """

    head: Head
    model: ModelState | None
    nbytes: int = 0

    def message(self, local_id: str, peer_id: str, epoch: int, shift_ns: int = 0) -> Message:
        """Return the message.

        Args:
            local_id: The node that it has come to.
            peer_id: The node that it comes from.
            epoch: Epoch of the session.
            shift_ns: What is added to the sender's time to have this node's.
        """
        head = self.head
        return Message(
            KINDS[head.kind],
            peer_id,
            local_id,
            head.method,
            head.body,
            self.model,
            head.correlation_id,
            head.deadline_ns + shift_ns if head.deadline_ns else 0,
            epoch,
            0,
            head.sent_ns + shift_ns if head.sent_ns else 0,
            head.intended_ns + shift_ns if head.intended_ns else 0,
        )


def decode(payload: memoryview, store: TensorStore = HEAP) -> Arrived | Assembly:
    """Return the message that a head is, or what its bulk is to be fed to.

    Args:
        payload: The head.
        store: Where its model comes to lie.

    Raises:
        RemoteProtocolError: It is no head, or describes a model that cannot be; the message says why.
        TensorStoreFull: The store has no room.
    """
    if len(payload) < _PREFIX.size:
        raise RemoteProtocolError(f"a head of {len(payload)} bytes is truncated")
    nbytes, spilled = _PREFIX.unpack_from(payload)
    if spilled:
        if nbytes or len(payload) > _PREFIX.size or spilled > MAX_BODY_BYTES:
            raise RemoteProtocolError(f"a head claims {spilled} bytes of bulk for itself: refused")
        return Assembly(spilled, store)
    end = _PREFIX.size + nbytes
    if len(payload) < end:
        raise RemoteProtocolError(f"a head of {len(payload)} bytes claims to have {end}: truncated")
    head = _read(payload[_PREFIX.size : end])
    values = payload[end:]
    if head.layout:
        layout, block = _make_room(head, store)
        if not values:
            return Assembly(0, store, head, layout, block)
        if len(values) == layout.nbytes:
            block.buffer[:] = values
            return Arrived(head, ModelState(block, layout, head.version))
    if values:
        raise RemoteProtocolError(f"{len(values)} bytes came with a head that claims {head.nbytes}")
    return Arrived(head, None)


class Assembly:
    """A message whose bulk is on its way.

    Args:
        spilled: Bytes of the bulk that are its head, 0 if that is known.
        store: Where its model comes to lie.
        head: Its head, if that is known.
        layout: Layout of its model, likewise.
        block: Memory of its model, likewise.

    Attributes:
        size: Bytes of its bulk, as far as is known.
        received: Bytes of it that have come.
    """

    __slots__ = ("_block", "_buffer", "_head", "_layout", "_start", "_store", "received", "size")

    def __init__(
        self,
        spilled: int,
        store: TensorStore,
        head: Head | None = None,
        layout: Layout | None = None,
        block: Block | None = None,
    ) -> None:
        self._store = store
        self._head = head
        self._layout = layout
        self._block = block
        self._start = self.received = 0
        self._buffer = memoryview(bytearray(spilled)) if block is None else block.buffer
        self.size = len(self._buffer)

    def feed(self, offset: int, chunk: memoryview) -> Arrived | None:
        """Take the next chunk of the bulk; return the message if that completes it.

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
        if end < len(self._buffer):
            return None
        head = self._head
        if head is None:
            head = self._head = _read(self._buffer)
            if head.layout:
                self._start = self.received
                self._layout, self._block = _make_room(head, self._store)
                self._buffer = self._block.buffer
                self.size += len(self._buffer)
                return None
        if self._block is None or self._layout is None:
            return Arrived(head, None, self.size)
        return Arrived(head, ModelState(self._block, self._layout, head.version), self.size)


def _read(data: memoryview) -> Head:
    try:
        head = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"a head cannot be read: {error}") from error
    if not 0 <= head.kind < len(KINDS):
        raise RemoteProtocolError(f"there is no kind of message with number {head.kind}")
    if head.nbytes and not head.layout:
        raise RemoteProtocolError(f"a head claims {head.nbytes} bytes for a model without a layout")
    return head


def _make_room(head: Head, store: TensorStore) -> tuple[Layout, Block]:
    layout = decode_layout(head.layout)
    if layout.nbytes != head.nbytes or head.nbytes > MAX_MODEL_BYTES or head.version < 0:
        raise RemoteProtocolError(
            f"a model claims {head.nbytes} bytes and version {head.version}; its arrays have "
            f"{layout.nbytes} bytes, {MAX_MODEL_BYTES} is the most"
        )
    try:
        return layout, store.allocate(layout)
    except MemoryError as error:
        raise RemoteProtocolError(f"there is no memory for a model of {head.nbytes} bytes") from error
