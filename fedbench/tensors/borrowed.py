"""Borrowed: the models that another process has lent to this one, read where they lie."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedbench.errors import RemoteProtocolError
from fedbench.tensors.layout import ALIGNMENT_BYTES, decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.segments import attach, is_linked, parse_name
from fedbench.tensors.slots import HEADER, HEADER_BYTES, MAGIC
from fedbench.tensors.store import Block

if TYPE_CHECKING:
    from fedbench.tensors.layout import Array
    from fedbench.tensors.store import Handle, TensorStore

OnRelease = Callable[[list[int]], object]


class Borrowed:
    """The segments of one other process, mapped for reading. One thread.

    Args:
        owner_pid: The only process whose segments are accepted.
        draft_store: Where drafts of the models lie.
        on_release: Called with the leases of the :meth:`open` and :meth:`read_bytes` calls of a slot when no
            view of it is left; from any thread and from within garbage collection. It is kept as long as
            views are, so it should not hold the connection.
    """

    def __init__(self, owner_pid: int, draft_store: TensorStore, on_release: OnRelease) -> None:
        self._owner_pid = owner_pid
        self._draft_store = draft_store
        self.on_release = on_release
        self._segments: dict[str, Array] = {}  # their bytes
        # By place: the generation, the model as long as it is in use, and under which numbers it was lent.
        self._opened: dict[tuple[str, int], tuple[int, weakref.ref[ModelState], list[int]]] = {}
        self._viewed: dict[int, weakref.ref[Array]] = {}  # by the first of their leases

    def open(self, handle: Handle) -> ModelState:
        """Return the model that ``handle`` tells of, without a copy.

        Raises:
            RemoteProtocolError: It tells of nothing that the owner has lent: a wrong owner, place, size or
                generation, or a layout that no model has.
        """
        segment, layout_start = self._check(handle)
        place = (handle.segment, handle.offset)
        opened = self._opened.get(place)
        if opened is not None and opened[0] == handle.generation:
            known = opened[1]()
            if known is not None and known.version == handle.version:
                opened[2].append(handle.lease)  # one that is alive is not released meanwhile
                return known
        layout = decode_layout(segment[layout_start : layout_start + handle.layout_nbytes].tobytes())
        if layout.nbytes != handle.nbytes:
            raise RemoteProtocolError(
                f"{_named(handle)} has a layout of {layout.nbytes} bytes for {handle.nbytes} bytes of data"
            )
        if handle.version < 0:
            raise RemoteProtocolError(f"{_named(handle)} has version {handle.version}")
        start, leases = handle.offset + HEADER_BYTES, [handle.lease]
        data = segment[start : start + handle.nbytes]
        model = ModelState(Block(data.data, self._draft_store), layout, handle.version)
        ended = functools.partial(_ended, self._viewed, self.on_release, leases)
        self._viewed[handle.lease] = weakref.ref(data, ended)
        self._opened[place] = (handle.generation, weakref.ref(model), leases)
        return model

    def read_bytes(self, handle: Handle) -> bytes:
        """Return a copy of the data that ``handle`` tells of, and release it.

        Raises:
            RemoteProtocolError: As for :meth:`open`.
        """
        segment, _ = self._check(handle)
        start = handle.offset + HEADER_BYTES
        data = segment[start : start + handle.nbytes].tobytes()
        self.on_release([handle.lease])
        return data

    def close(self) -> None:
        """Let go of the segments; views stay readable. Idempotent."""
        self._segments.clear()
        self._opened.clear()
        self._viewed.clear()

    def _let_go(self) -> None:
        """Let go of what the owner has unlinked to make room, before more is mapped."""
        gone = {name for name in self._segments if not is_linked(name)}
        for name in gone:
            del self._segments[name]
        self._opened = {place: opened for place, opened in self._opened.items() if place[0] not in gone}

    def _check(self, handle: Handle) -> tuple[Array, int]:
        """Return the segment of a handle that can be trusted, and where its layout begins."""
        segment = self._segments.get(handle.segment)
        if segment is None:
            segment = self._attach(handle)
        offset, nbytes, layout_nbytes = handle.offset, handle.nbytes, handle.layout_nbytes
        layout_start = offset + HEADER_BYTES + -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        end = layout_start + layout_nbytes
        if offset < 0 or nbytes < 0 or layout_nbytes < 0 or offset % ALIGNMENT_BYTES or end > len(segment):
            raise RemoteProtocolError(
                f"{_named(handle)} is out of range: {nbytes} + {layout_nbytes} bytes in a segment of "
                f"{len(segment)}"
            )
        found = HEADER.unpack_from(segment, offset)  # type: ignore[arg-type]  # an array is a buffer
        if found != (MAGIC, handle.generation, nbytes, layout_nbytes):
            raise RemoteProtocolError(
                f"{_named(handle)} is stale or forged: generation {found[1]} with {found[2]} + {found[3]} "
                "bytes lies there"
            )
        return segment, layout_start

    def _attach(self, handle: Handle) -> Array:
        owner = parse_name(handle.segment)
        if owner is None or owner.uid != os.getuid() or owner.pid != self._owner_pid:
            raise RemoteProtocolError(f"{_named(handle)} is no segment of process {self._owner_pid}")
        try:
            self._let_go()
            segment = self._segments[handle.segment] = np.frombuffer(attach(handle.segment), np.uint8)
        except (OSError, ValueError) as error:
            raise RemoteProtocolError(f"{_named(handle)} cannot be mapped: {error}") from error
        return segment


def _ended(
    viewed: dict[int, weakref.ref[Array]], on_release: OnRelease, leases: list[int], _: weakref.ref[Array]
) -> None:
    """The last view of a slot is gone."""
    viewed.pop(leases[0], None)
    on_release(leases)


def _named(handle: Handle) -> str:
    return f"a handle of generation {handle.generation} at byte {handle.offset} of {handle.segment!r:.80}"
