"""Slots: places for one model each in segments of shared memory, recycled by size.

A slot begins with a header (magic, generation, bytes of data, bytes of layout), then the data from a multiple
of 64 on, then the encoded layout.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from fedbench.tensors.layout import ALIGNMENT_BYTES, aligned

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Hashable

    from fedbench.tensors.segments import Segment

MAGIC = 0x62_66_66_65_64_62_65_6E
HEADER = Struct("<QQQQ")  # magic, generation, bytes of data, bytes of layout
HEADER_BYTES = ALIGNMENT_BYTES
SHARED_SEGMENT_BYTES = 1 << 16
_STEPS = 16
_LEAST_STEP_BYTES = 512


class Memory:
    """A stretch of a mapped segment that numpy can look at; every view keeps this object alive.

    Args:
        mapped: The segment.
        offset: Where it begins, in bytes.
        nbytes: Its size.
        readonly: Whether views refuse to be written.
        on_drop: Called when no view is left; from any thread and from within garbage collection.
    """

    __slots__ = ("__array_interface__", "__weakref__", "_mapped", "_on_drop")

    def __init__(
        self,
        mapped: mmap.mmap,
        offset: int,
        nbytes: int,
        *,
        readonly: bool,
        on_drop: Callable[[], None] | None = None,
    ) -> None:
        self._mapped = mapped
        self._on_drop = on_drop
        start, _ = np.frombuffer(mapped, np.uint8).__array_interface__["data"]
        self.__array_interface__: dict[str, Any] = {
            "data": (start + offset, readonly),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        if self._on_drop is not None:
            self._on_drop()

    def view(self, start: int, nbytes: int) -> memoryview:
        """Return a view of some of it."""
        return np.asarray(self).data[start : start + nbytes]


class Slot:
    """A place for one model.

    Attributes:
        segment: Where it is.
        offset: Where it begins there, in bytes.
        nbytes: Its size, header and layout included.
        generation: How often it has been used.
        viewed: Whether this process has views of it.
        leases: Messages by which each peer was handed it and has not released it.
    """

    __slots__ = ("generation", "leases", "nbytes", "offset", "segment", "viewed")

    def __init__(self, segment: Segment, offset: int, nbytes: int) -> None:
        self.segment = segment
        self.offset = offset
        self.nbytes = nbytes
        self.generation = 0
        self.viewed = False
        self.leases: dict[Hashable, int] = {}

    @property
    def free(self) -> bool:
        """Whether nobody uses it."""
        return not self.viewed and not self.leases

    def begin(self, nbytes: int, layout: bytes) -> None:
        """Begin a new generation: write the header and the layout."""
        self.generation += 1
        HEADER.pack_into(self.segment.map, self.offset, MAGIC, self.generation, nbytes, len(layout))
        if layout:
            start = self.offset + HEADER_BYTES + aligned(nbytes)
            self.segment.map[start : start + len(layout)] = layout


def needed_bytes(nbytes: int, layout_nbytes: int) -> int:
    """Return how large a slot must be for that much data and layout."""
    return HEADER_BYTES + aligned(nbytes) + aligned(layout_nbytes)


def size_class(nbytes: int) -> int:
    """Return the size of the slots that hold ``nbytes`` bytes: at most a sixteenth larger, above 8 KiB."""
    step = max(_LEAST_STEP_BYTES, 1 << max(nbytes.bit_length() - 1 - _STEPS.bit_length() + 1, 0))
    return -(-nbytes // step) * step


def slots_per_segment(nbytes: int) -> int:
    """Return how many slots of that size share a segment: large ones have one each."""
    return max(1, SHARED_SEGMENT_BYTES // nbytes)
