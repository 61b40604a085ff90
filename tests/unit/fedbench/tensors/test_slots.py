"""Slots: little waste, and a header that tells what lies there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedbench.tensors.segments import Segment
from fedbench.tensors.slots import (
    HEADER,
    HEADER_BYTES,
    MAGIC,
    Slot,
    needed_bytes,
    size_class,
    slots_per_segment,
)


@given(st.integers(1, 1 << 40))
def test_a_class_fits_and_wastes_a_sixteenth_at_most(nbytes):
    found = size_class(nbytes)
    assert nbytes <= found
    assert found - nbytes < max(512, found / 16)
    assert found % 64 == 0
    assert size_class(found) == found
    assert slots_per_segment(found) == max(1, 65536 // found)


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 16))
def test_a_slot_has_room_for_header_data_and_layout(nbytes, layout_nbytes):
    assert needed_bytes(nbytes, layout_nbytes) >= HEADER_BYTES + nbytes + layout_nbytes


def test_a_new_generation_writes_header_and_layout():
    segment = Segment(4096)
    slot = Slot(segment, 1024, 1024)
    assert slot.free
    slot.begin(100, b"layout")
    slot.begin(70, b"layouts")
    assert HEADER.unpack_from(segment.map, 1024) == (MAGIC, 2, 70, 7)
    assert segment.map[1024 + 64 + 128 : 1024 + 64 + 128 + 7] == b"layouts"
    slot.leases = 1
    assert not slot.free
    segment.unlink()
