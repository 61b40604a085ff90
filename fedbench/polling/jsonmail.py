"""Messages of the legacy architecture as JSON, their tensors as base64 of the raw bytes. Pure, and exact.

A message is one JSON object. JSON has no bytes, no numbers that are none and only text as keys, so a body
carries those under a mark: ``{"$bytes": base64}``, ``{"$float": "nan"}``, ``{"$items": [[key, value], …]}``.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Annotated, Any

import msgspec

from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Kind, Message, snapshot
from fedbench.tensors.layout import decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP

Natural = Annotated[int, msgspec.Meta(ge=0)]
_MARKS = ("$bytes", "$float", "$items")
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array.

    Attributes:
        name: Its name in the model.
        dtype: Its dtype in numpy's short form with byte order (``<f4``).
        shape: Its shape.
        base64: Its bytes in C order, which JSON carries as base64.
    """

    name: str
    dtype: str
    shape: tuple[Natural, ...]
    base64: memoryview


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model: its version, and its arrays in order."""

    version: Natural
    tensors: list[Tensor]


class Letter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message in the form that becomes JSON; attributes as in :class:`fedbench.messages.Message`."""

    kind: Kind
    source: str
    target: str
    method: str = ""
    body: Any = None
    model: Model | None = None
    correlation_id: Natural = 0
    deadline_ns: Natural = 0
    sent_ns: Natural = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Letter)


def encode(message: Message) -> bytes:
    """Return a message as JSON.

    Raises:
        LocalProtocolError: Its body is not plain data, a text holds half a surrogate pair, or an integer
            has more than 4300 digits.
    """
    letter = Letter(
        message.kind,
        message.source,
        message.target,
        message.method,
        _marked(snapshot(message.body)),
        None if message.tensors is None else _model(message.tensors),
        message.correlation_id,
        message.deadline_ns,
        message.sent_ns,
    )
    try:
        return _encoder.encode(letter)
    except ValueError as error:
        raise LocalProtocolError(f"the message cannot be encoded: {error}") from error


def decode(data: bytes) -> Message:
    """Return the message that ``data`` holds; its model lies on the heap.

    Raises:
        RemoteProtocolError: ``data`` is something else, or its arrays are not what it says of them.
    """
    try:
        letter = _decoder.decode(data)
        body = _unmarked(letter.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"a message cannot be read: {error}") from error
    return Message(
        letter.kind,
        letter.source,
        letter.target,
        letter.method,
        body,
        None if letter.model is None else _restored(letter.model),
        letter.correlation_id,
        letter.deadline_ns,
        sent_ns=letter.sent_ns,
    )


def _model(model: ModelState) -> Model:
    tensors = [Tensor(name, array.dtype.str, array.shape, array.data) for name, array in model.items()]
    return Model(model.version, tensors)


def _restored(model: Model) -> ModelState:
    entries = [(tensor.name, tensor.shape, tensor.dtype) for tensor in model.tensors]
    layout = decode_layout(msgspec.msgpack.encode(entries))
    for spec, tensor in zip(layout.specs, model.tensors, strict=True):
        if tensor.base64.nbytes != spec.nbytes:
            raise RemoteProtocolError(
                f"array {spec.name!r:.80} came with {tensor.base64.nbytes} bytes: its dtype and shape need "
                f"{spec.nbytes}"
            )
    block = HEAP.allocate(layout)
    for spec, tensor in zip(layout.specs, model.tensors, strict=True):
        block.buffer[spec.offset_bytes : spec.offset_bytes + spec.nbytes] = tensor.base64
    return ModelState(block, layout, model.version)


def _marked(body: Any) -> Any:
    """Return plain data with marks where JSON has no form for it."""
    if isinstance(body, bytes):
        return {"$bytes": base64.b64encode(body).decode()}
    if isinstance(body, float) and not math.isfinite(body):
        return {"$float": str(body)}
    if isinstance(body, list):
        return [_marked(item) for item in body]
    if isinstance(body, dict):
        if any(not isinstance(key, str) or key in _MARKS for key in body):
            return {"$items": [[key, _marked(value)] for key, value in body.items()]}
        return {key: _marked(value) for key, value in body.items()}
    return body


def _unmarked(body: Any) -> Any:
    """Return what :func:`_marked` was given.

    Raises:
        RemoteProtocolError: A mark stands before something else.
    """
    if isinstance(body, list):
        return [_unmarked(item) for item in body]
    if not isinstance(body, dict):
        return body
    if len(body) == 1 and (mark := next(iter(body))) in _MARKS:
        try:
            return _meant(mark, body[mark])
        except (TypeError, ValueError, KeyError, binascii.Error) as error:
            raise RemoteProtocolError(f"{mark} of a body stands before something else: {error}") from error
    return {key: _unmarked(value) for key, value in body.items()}


def _meant(mark: str, value: Any) -> Any:
    if mark == "$bytes":
        return base64.b64decode(value, validate=True)
    if mark == "$float":
        return _FLOATS[value]
    items = {}
    for key, item in value:
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise TypeError(f"{key!r:.80} is no key")
        items[key] = _unmarked(item)
    return items
