"""Slots: places for one model each in segments of shared memory, recycled by size.

A slot begins with a header (magic, generation, bytes of data, bytes of layout), then the data from a multiple
of 64 on, then the encoded layout.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

from fedbench.tensors.layout import ALIGNMENT_BYTES, Array, aligned

if TYPE_CHECKING:
    import weakref

    from fedbench.tensors.segments import Segment

MAGIC = 0x62_66_66_65_64_62_65_6E
HEADER = Struct("<QQQQ")  # magic, generation, bytes of data, bytes of layout
HEADER_BYTES = ALIGNMENT_BYTES
SHARED_SEGMENT_BYTES = 1 << 16
_STEPS = 16
_LEAST_STEP_BYTES = 512


class Slot:
    """A place for one model.

    Attributes:
        segment: Where it is.
        offset: Where it begins there, in bytes.
        nbytes: Its size, header and layout included.
        generation: How often it has been used.
        viewed: Tells when this process has no views of it any more; None while it has none.
        leases: How often it was lent and not released.
    """

    __slots__ = ("_layout", "generation", "leases", "nbytes", "offset", "segment", "viewed")

    def __init__(self, segment: Segment, offset: int, nbytes: int) -> None:
        self.segment = segment
        self.offset = offset
        self.nbytes = nbytes
        self.generation = 0
        self.viewed: weakref.ref[Array] | None = None
        self.leases = 0
        self._layout = b""

    @property
    def free(self) -> bool:
        """Whether nobody uses it."""
        return self.viewed is None and not self.leases

    def begin(self, nbytes: int, layout: bytes) -> None:
        """Begin a new generation: write the header and the layout."""
        self.generation += 1
        HEADER.pack_into(self.segment.map, self.offset, MAGIC, self.generation, nbytes, len(layout))
        if layout is not self._layout:
            self._layout = layout
            start = self.offset + HEADER_BYTES + aligned(nbytes)
            self.segment.map[start : start + len(layout)] = layout


@lru_cache(maxsize=256)
def room_for(nbytes: int, layout_nbytes: int) -> tuple[int, int]:
    """Return how large a slot must be for that much data and layout, and how large those made for it are."""
    need = needed_bytes(nbytes, layout_nbytes)
    return need, size_class(need)


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
