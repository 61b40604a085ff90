"""Layouts: where the arrays of a model lie in its buffer; as bytes, and checked when they come back. Pure."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedbench.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = NDArray[Any]

ALIGNMENT_BYTES = 64
MAX_DIMENSIONS = 8
MAX_ARRAYS = 100_000
ALLOWED_KINDS = "biufc"
_DTYPES = {dtype.str: dtype for dtype in map(np.dtype, np.typecodes["All"]) if dtype.kind in ALLOWED_KINDS}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Where one array lies in a model's buffer.

    Attributes:
        name: Name of the array.
        shape: Its shape.
        dtype: Its dtype in numpy's short form with byte order (``<f4``).
        offset_bytes: Start in the buffer, a multiple of 64.
        nbytes: Its size in bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset_bytes: int
    nbytes: int


@dataclass(frozen=True)
class Layout:
    """Names, shapes, dtypes and places of a model's arrays: equal layouts are interchangeable.

    Attributes:
        specs: One entry an array, in the model's order.
        nbytes: Size of the whole buffer in bytes, padding included.
    """

    specs: tuple[TensorSpec, ...]
    nbytes: int

    @cached_property
    def encoded(self) -> bytes:
        """It as bytes: name, shape and dtype of every array; places and sizes follow from them."""
        return _encoder.encode([(spec.name, spec.shape, spec.dtype) for spec in self.specs])

    @cached_property
    def forms(self) -> tuple[tuple[str, tuple[int, ...], np.dtype[Any], int, int], ...]:
        """Name, shape, dtype, number of values and place of every array, as numpy takes them."""
        return tuple(
            (spec.name, spec.shape, np.dtype(spec.dtype), math.prod(spec.shape), spec.offset_bytes)
            for spec in self.specs
        )

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Layout:
        """Lay out ``arrays`` one after the other, each aligned to 64 bytes.

        Raises:
            TypeError: An array's dtype is not a native boolean, integer, float or complex.
            ValueError: There is no array, or one has more than 8 dimensions.
        """
        if not arrays:
            raise ValueError("a model needs at least one array")
        specs, offset = [], 0
        for name, array in arrays.items():
            if array.dtype.kind not in ALLOWED_KINDS or not array.dtype.isnative:
                raise TypeError(
                    f"array {name!r} has dtype {array.dtype}: a model holds native booleans, integers, "
                    "floats and complex numbers only"
                )
            if array.ndim > MAX_DIMENSIONS:
                raise ValueError(f"array {name!r} has {array.ndim} dimensions, more than {MAX_DIMENSIONS}")
            specs.append(TensorSpec(name, array.shape, array.dtype.str, offset, array.nbytes))
            offset += aligned(array.nbytes)
        return cls(tuple(specs), max(offset, ALIGNMENT_BYTES))


def aligned(nbytes: int) -> int:
    """Return ``nbytes`` rounded up to a multiple of 64."""
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


_Entry = tuple[str, tuple[int, ...], str]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[_Entry, ...])


@lru_cache(maxsize=64)
def decode_layout(data: bytes) -> Layout:
    """Return the layout whose :attr:`Layout.encoded` is given.

    Raises:
        RemoteProtocolError: ``data`` is something else, or describes what no model holds; it is named.
    """
    try:
        entries = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"a layout cannot be read: {error}") from error
    if not 1 <= len(entries) <= MAX_ARRAYS:
        raise RemoteProtocolError(
            f"a layout of {len(entries)} arrays is refused: 1 to {MAX_ARRAYS} are allowed"
        )
    specs, offset = [], 0
    for name, shape, dtype_name in entries:
        dtype = _DTYPES.get(dtype_name)
        if dtype is None:
            raise RemoteProtocolError(
                f"array {name!r:.80} has dtype {dtype_name!r:.80}: only native numbers are allowed"
            )
        if not _is_shape(shape, dtype.itemsize):
            raise RemoteProtocolError(f"array {name!r:.80} has the shape {shape!s:.200}: refused")
        nbytes = math.prod(shape) * dtype.itemsize
        specs.append(TensorSpec(name, shape, dtype.str, offset, nbytes))
        offset += aligned(nbytes)
    if len({spec.name for spec in specs}) < len(specs):
        raise RemoteProtocolError("two arrays of a layout have the same name")
    return Layout(tuple(specs), max(offset, ALIGNMENT_BYTES))


def _is_shape(shape: tuple[int, ...], itemsize: int) -> bool:
    """Whether numpy makes arrays of that shape; looking at the size, it counts an empty dimension as 1."""
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        return False
    return math.prod(max(length, 1) for length in shape) * itemsize <= sys.maxsize
