"""TensorStore: where models lie. The heap, or shared memory that other processes read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from ctypes import addressof, c_char
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedbench.tensors.layout import ALIGNMENT_BYTES

if TYPE_CHECKING:
    from fedbench.tensors.layout import Layout
    from fedbench.tensors.model import ModelState


_Nothing = c_char * 0


class Handle(msgspec.Struct, frozen=True, array_like=True):
    """Where a model or a piece of data lies in another process's shared memory.

    Attributes:
        segment: Name of the segment.
        offset: Start of the slot in the segment, in bytes.
        nbytes: Size of the data in bytes.
        layout_nbytes: Size of the encoded layout behind the data, 0 for data that is no model.
        generation: How often the slot has been used; a handle of an earlier use is stale.
        version: Version of the model.
        lease: Number under which it was lent, to be told when it is not read any more.
    """

    segment: str
    offset: int
    nbytes: int
    layout_nbytes: int
    generation: int
    version: int
    lease: int


class Block(msgspec.Struct, eq=False):
    """Memory for one model.

    Attributes:
        buffer: Writable, aligned to 64 bytes, as long as the layout needs. Its memory is used for nothing
            else while any view of it lives.
        store: Where it lies, and where drafts of its model will.
    """

    buffer: memoryview
    store: TensorStore


class TensorStore(ABC):
    """Gives memory to models. Every method may be called from any thread."""

    @abstractmethod
    def allocate(self, layout: Layout) -> Block:
        """Return memory for a model of that layout; it holds whatever memory held.

        Raises:
            TensorStoreFull: There is no room; nothing has changed.
        """

    @abstractmethod
    def adopt(self, model: ModelState) -> ModelState:
        """Return ``model`` in this store: itself if it lies here, else the one copy made of it.

        Raises:
            TensorStoreFull: There is no room for the copy.
        """

    @abstractmethod
    def holds(self, model: ModelState) -> bool:
        """Whether ``model`` lies in this store, so that :meth:`adopt` copies nothing."""

    @abstractmethod
    def close(self) -> None:
        """Give no more memory; models that are still in use stay readable. Idempotent."""


class HeapStore(TensorStore):
    """The memory of this process. Whatever this process can read counts as lying in it."""

    def allocate(self, layout: Layout) -> Block:
        """Return fresh memory."""
        raw = np.empty(layout.nbytes + ALIGNMENT_BYTES, np.uint8)
        buffer = raw.data
        start = -addressof(_Nothing.from_buffer(buffer)) % ALIGNMENT_BYTES  # twice as fast as raw.ctypes.data
        return Block(buffer[start : start + layout.nbytes], self)

    def adopt(self, model: ModelState) -> ModelState:
        """Return ``model``."""
        return model

    def holds(self, model: ModelState) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Nothing to do."""


HEAP = HeapStore()
"""Where models lie unless somebody says otherwise."""
