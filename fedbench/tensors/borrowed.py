"""Borrowed: the models that another process has lent to this one, read where they lie."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedbench.errors import RemoteProtocolError
from fedbench.tensors.layout import ALIGNMENT_BYTES, aligned, decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.segments import attach, is_linked, parse_name
from fedbench.tensors.slots import HEADER, HEADER_BYTES, MAGIC, Memory
from fedbench.tensors.store import Block

if TYPE_CHECKING:
    import mmap

    from fedbench.tensors.store import Handle, TensorStore

OnRelease = Callable[[str, int, int, int], None]


class _Live:
    """A slot that is viewed here.

    Attributes:
        generation: What was lent.
        memory: What the views keep alive.
        model: The last model over it.
        count: How often it was opened: as often will it be released, at once.
    """

    __slots__ = ("count", "generation", "memory", "model")

    def __init__(self, generation: int, memory: weakref.ref[Memory], count: list[int]) -> None:
        self.generation = generation
        self.memory = memory
        self.model: Callable[[], ModelState | None] = _none
        self.count = count


def _none() -> None:
    return None


class Borrowed:
    """The segments of one other process, mapped for reading. One thread.

    Args:
        owner_pid: The only process whose segments are accepted.
        draft_store: Where drafts of the models lie.
        on_release: Called with segment, offset, generation and the number of :meth:`open` and
            :meth:`read_bytes` calls that it covers, when no view of a slot is left; from any thread and from
            within garbage collection.
    """

    def __init__(self, owner_pid: int, draft_store: TensorStore, on_release: OnRelease) -> None:
        self._itself = weakref.ref(self)  # else what holds the memory would hold the connection, too
        self._owner_pid = owner_pid
        self._draft_store = draft_store
        self.on_release = on_release
        self._maps: dict[str, mmap.mmap] = {}
        self._live: dict[tuple[str, int], _Live] = {}

    def open(self, handle: Handle) -> ModelState:
        """Return the model that ``handle`` tells of, without a copy.

        Raises:
            RemoteProtocolError: It tells of nothing that the owner has lent: a wrong owner, place, size or
                generation, or a layout that no model has.
        """
        mapped = self._check(handle)
        live = self._live.get((handle.segment, handle.offset))
        if live is not None and live.generation == handle.generation:
            known = live.model()
            if known is not None and known.version == handle.version:
                live.count[0] += 1  # one that is alive is not released meanwhile
                return known
        start = handle.offset + HEADER_BYTES + aligned(handle.nbytes)
        layout = decode_layout(mapped[start : start + handle.layout_nbytes])
        if layout.nbytes != handle.nbytes:
            raise RemoteProtocolError(
                f"{_named(handle)} has a layout of {layout.nbytes} bytes for {handle.nbytes} bytes of data"
            )
        if handle.version < 0:
            raise RemoteProtocolError(f"{_named(handle)} has version {handle.version}")
        live, memory = self._memory(mapped, handle)
        buffer = memory.view(HEADER_BYTES, handle.nbytes)
        model = ModelState(Block(buffer, self._draft_store), layout, handle.version)
        live.model = weakref.ref(model)
        return model

    def read_bytes(self, handle: Handle) -> bytes:
        """Return a copy of the data that ``handle`` tells of, and release it.

        Raises:
            RemoteProtocolError: As for :meth:`open`.
        """
        mapped = self._check(handle)
        start = handle.offset + HEADER_BYTES
        data = mapped[start : start + handle.nbytes]
        self.on_release(handle.segment, handle.offset, handle.generation, 1)
        return data

    def close(self) -> None:
        """Let go of the segments; views stay readable. Idempotent."""
        self._maps.clear()
        self._live.clear()

    def _let_go(self) -> None:
        """Let go of what the owner has unlinked to make room, before more is mapped."""
        gone = {name for name in self._maps if not is_linked(name)}
        for name in gone:
            del self._maps[name]
        self._live = {key: live for key, live in self._live.items() if key[0] not in gone}

    def _memory(self, mapped: mmap.mmap, handle: Handle) -> tuple[_Live, Memory]:
        key = (handle.segment, handle.offset)
        live = self._live.get(key)
        if live is not None and live.generation == handle.generation:
            memory = live.memory()
            if memory is not None:
                live.count[0] += 1
                return live, memory
        count = [1]
        released = functools.partial(
            _released, self._itself, handle.segment, handle.offset, handle.generation, count
        )
        nbytes = HEADER_BYTES + handle.nbytes
        memory = Memory(mapped, handle.offset, nbytes, readonly=True, on_drop=released)
        live = self._live[key] = _Live(handle.generation, weakref.ref(memory), count)
        return live, memory

    def _check(self, handle: Handle) -> mmap.mmap:
        mapped = self._maps.get(handle.segment)
        if mapped is None:
            owner = parse_name(handle.segment)
            if owner is None or owner.uid != os.getuid() or owner.pid != self._owner_pid:
                raise RemoteProtocolError(f"{_named(handle)} is no segment of process {self._owner_pid}")
            try:
                self._let_go()
                mapped = self._maps[handle.segment] = attach(handle.segment)
            except (OSError, ValueError) as error:
                raise RemoteProtocolError(f"{_named(handle)} cannot be mapped: {error}") from error
        sizes = (handle.offset, handle.nbytes, handle.layout_nbytes)
        end = handle.offset + HEADER_BYTES + aligned(handle.nbytes) + handle.layout_nbytes
        if min(sizes) < 0 or handle.offset % ALIGNMENT_BYTES or end > len(mapped):
            raise RemoteProtocolError(
                f"{_named(handle)} is out of range: {handle.nbytes} + {handle.layout_nbytes} bytes in a "
                f"segment of {len(mapped)}"
            )
        found = HEADER.unpack_from(mapped, handle.offset)
        if found != (MAGIC, handle.generation, handle.nbytes, handle.layout_nbytes):
            raise RemoteProtocolError(
                f"{_named(handle)} is stale or forged: generation {found[1]} with {found[2]} + {found[3]} "
                "bytes lies there"
            )
        return mapped


def _released(
    borrowed: weakref.ref[Borrowed], segment: str, offset: int, generation: int, count: list[int]
) -> None:
    """Tell the owner, if there is still a way."""
    there = borrowed()
    if there is not None:
        there.on_release(segment, offset, generation, count[0])


def _named(handle: Handle) -> str:
    return f"a handle of generation {handle.generation} at byte {handle.offset} of {handle.segment!r:.80}"
