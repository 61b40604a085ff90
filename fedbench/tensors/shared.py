"""SharedStore: models in shared memory that this process owns and lends to others."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from fedbench.errors import RemoteProtocolError, TensorStoreFull
from fedbench.tensors.copying import copy_buffer
from fedbench.tensors.model import ModelState
from fedbench.tensors.segments import Segment
from fedbench.tensors.slots import HEADER_BYTES, Slot, room_for, slots_per_segment
from fedbench.tensors.store import Block, Handle, TensorStore

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from fedbench.tensors.layout import Array, Layout

_LARGEST_WASTE = 1.25


class _SharedBlock(Block, eq=False):
    """Memory in a slot."""

    slot: Slot


class SharedStore(TensorStore):
    """Slots of shared segments, recycled: a slot is used again when nobody looks at it any more.

    That is when the last view of it in this process has been collected and every lease has ended. Every
    message that lends a slot is a lease with a number of its own. Segments are made when they are needed,
    with every page allocated, and are unlinked by :meth:`close`, or to make room for slots of another size.

    Args:
        budget_bytes: Most bytes of all segments together; None for as many as the machine has.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        self._budget_bytes = budget_bytes
        self._lock = threading.RLock()
        self._segments: dict[str, tuple[Segment, list[Slot]]] = {}
        self._free: dict[int, list[Slot]] = {}
        self._leases: dict[Hashable, dict[int, Slot]] = {}
        self._last_lease = 0
        self._dropped: deque[Slot] = deque()  # by finalizers: in any thread, within any call
        self._adopted: dict[int, tuple[weakref.ref[ModelState], ModelState]] = {}
        self._making_bytes = 0
        self._closed = False

    def allocate(self, layout: Layout) -> Block:
        """Return memory for a model; see :meth:`TensorStore.allocate`."""
        slot, data = self._begin(layout.nbytes, layout.encoded)
        return _SharedBlock(data.data, self, slot)

    def adopt(self, model: ModelState) -> ModelState:
        """Return ``model`` in this store; see :meth:`TensorStore.adopt`. A copy lasts as long as it."""
        if self.holds(model):
            return model
        copy = self._copy_of(model)
        if copy is not None:
            return copy
        block = self.allocate(model.layout)
        copy_buffer(block.buffer, model.buffer)
        copy = ModelState(block, model.layout, model.version)
        key, adopted = id(model), self._adopted
        reference = weakref.ref(model, lambda gone: _forget(adopted, key, gone))
        with self._lock:
            earlier = self._copy_of(model)  # another thread was faster
            if earlier is not None:
                return earlier
            self._adopted[key] = (reference, copy)
        return copy

    def holds(self, model: ModelState) -> bool:
        """Whether ``model`` lies in this store."""
        return isinstance(model.block, _SharedBlock) and model.block.store is self

    def lend(self, model: ModelState, peer: Hashable) -> Handle:
        """Adopt ``model`` and lend it to ``peer``: it is read over there until the lease is released.

        Raises:
            TensorStoreFull: There is no room for a copy.
        """
        block, layout = model.block, model.layout
        if not (type(block) is _SharedBlock and block.store is self):
            copy = self.adopt(model)
            block = copy.block
            assert isinstance(block, _SharedBlock)
        slot = block.slot
        lease = self._lease(slot, peer)
        return Handle(
            slot.segment.name,
            slot.offset,
            layout.nbytes,
            len(layout.encoded),
            slot.generation,
            model.version,
            lease,
        )

    def lend_bytes(self, data: bytes, peer: Hashable) -> Handle:
        """Lend a copy of ``data``, once; its slot is free when ``peer`` releases it.

        Raises:
            TensorStoreFull: There is no room for it.
        """
        slot, memory = self._begin(len(data), b"")
        memory.data[:] = data
        lease = self._lease(slot, peer)
        return Handle(slot.segment.name, slot.offset, len(data), 0, slot.generation, 0, lease)

    def release(self, peer: Hashable, leases: Iterable[int]) -> None:
        """``peer`` has no view any more of what it was lent under these numbers.

        Raises:
            RemoteProtocolError: It has no such lease; those before it have ended.
        """
        with self._lock:
            held = self._leases.get(peer, {})
            for number in leases:
                slot = held.pop(number, None)
                if slot is None:
                    raise RemoteProtocolError(f"lease {number} is released, which was not lent or has ended")
                slot.leases -= 1
                if not slot.leases and slot.viewed is None:
                    self._free[slot.nbytes].append(slot)
            if not held:
                self._leases.pop(peer, None)

    def lends_to(self, peer: Hashable) -> bool:
        """Whether ``peer`` has a lease."""
        with self._lock:
            return peer in self._leases

    def forget(self, peer: Hashable) -> None:
        """``peer`` is dead: all of its leases end."""
        with self._lock:
            self.release(peer, list(self._leases.get(peer, ())))

    def stats(self) -> dict[str, int]:
        """Return the numbers of segments, their bytes, of slots, free slots and leased slots."""
        with self._lock:
            self._collect()
            slots = [slot for _, segment_slots in self._segments.values() for slot in segment_slots]
            return {
                "segments": len(self._segments),
                "bytes": self._bytes(),
                "slots": len(slots),
                "free": sum(slot.free for slot in slots),
                "leased": sum(bool(slot.leases) for slot in slots),
            }

    def close(self) -> None:
        """Unlink every segment; what is mapped or viewed stays readable. Idempotent."""
        with self._lock:
            self._closed = True
            for segment, _ in self._segments.values():
                segment.unlink()
            self._segments.clear()
            self._free.clear()
            self._leases.clear()
            self._dropped.clear()
            self._adopted.clear()

    def _copy_of(self, model: ModelState) -> ModelState | None:
        with self._lock:
            known = self._adopted.get(id(model))
            return known[1] if known is not None and known[0]() is model else None

    # Slots -------------------------------------------------------------------------------------------

    def _begin(self, nbytes: int, layout: bytes) -> tuple[Slot, Array]:
        """Take a slot; it is in use as long as any view of its bytes, which are returned with it.

        Views keep the array alive that they are made of, through memoryviews too, and it tells of its end.
        """
        need, wanted = room_for(nbytes, len(layout))
        with self._lock:
            if self._closed:
                raise TensorStoreFull("this store is closed: it gives no more memory")
            if self._dropped:
                self._collect()
            free = self._free.get(wanted) or self._larger(need, wanted)
            slot = free.pop() if free else None
        if slot is None:
            slot = self._make(wanted)
        slot.begin(nbytes, layout)
        start = slot.offset + HEADER_BYTES
        data = slot.segment.data[start : start + nbytes]
        slot.viewed = weakref.ref(data, functools.partial(self._drop, slot))
        return slot, data

    def _larger(self, need: int, wanted: int) -> list[Slot]:
        """Return free slots of another size that waste little; none if there are none."""
        for nbytes in sorted(self._free):
            if need <= nbytes <= wanted * _LARGEST_WASTE and self._free[nbytes]:
                return self._free[nbytes]
        return []

    def _lease(self, slot: Slot, peer: Hashable) -> int:
        with self._lock:
            self._last_lease = lease = self._last_lease + 1
            held = self._leases.get(peer)
            if held is None:
                held = self._leases[peer] = {}
            held[lease] = slot
            slot.leases += 1
        return lease

    def _make(self, nbytes: int) -> Slot:
        """Make a segment and take a slot of it. Its pages take a while, so nobody waits for the lock then."""
        count = slots_per_segment(nbytes)
        self._reserve(nbytes * count)
        try:
            segment = self._segment(nbytes * count)
        except BaseException:
            with self._lock:
                self._making_bytes -= nbytes * count
            raise
        slots = [Slot(segment, number * nbytes, nbytes) for number in range(count)]
        with self._lock:
            self._making_bytes -= nbytes * count
            if self._closed:
                segment.unlink()
                raise TensorStoreFull("this store was closed meanwhile: it gives no more memory")
            self._segments[segment.name] = (segment, slots)
            self._free.setdefault(nbytes, []).extend(slots[:0:-1])
        return slots[0]

    def _reserve(self, nbytes: int) -> None:
        """Count a segment that will be made; idle ones go if the budget is too small for both."""
        with self._lock:
            budget = self._budget_bytes
            if budget is not None and self._bytes() + nbytes > budget:
                self._shrink()
                used = self._bytes()
                if used + nbytes > budget:
                    raise TensorStoreFull(
                        f"a segment of {nbytes} bytes exceeds the store's budget: {used} of {budget} "
                        "bytes are in use; raise the budget, or keep fewer models"
                    )
            self._making_bytes += nbytes

    def _segment(self, nbytes: int) -> Segment:
        try:
            return Segment(nbytes)
        except TensorStoreFull:
            with self._lock:
                shrunk = self._shrink()
            if not shrunk:
                raise
        return Segment(nbytes)

    def _shrink(self) -> bool:
        """Unlink the segments that nobody uses; False if there are none."""
        idle = [name for name, (_, slots) in self._segments.items() if all(slot.free for slot in slots)]
        for name in idle:
            segment, slots = self._segments.pop(name)
            segment.discard()
            for slot in slots:
                self._free[slot.nbytes].remove(slot)
        return bool(idle)

    def _drop(self, slot: Slot, _: weakref.ref[Array]) -> None:
        """Note that the last view of a slot here is gone; in any thread, and within any call."""
        if not self._closed:  # else it would keep the memory
            self._dropped.append(slot)

    def _collect(self) -> None:
        while self._dropped:
            slot = self._dropped.popleft()
            slot.viewed = None
            if not (slot.leases or self._closed):
                self._free[slot.nbytes].append(slot)

    def _bytes(self) -> int:
        return self._making_bytes + sum(segment.nbytes for segment, _ in self._segments.values())


def _forget(
    adopted: dict[int, tuple[weakref.ref[ModelState], ModelState]], key: int, gone: weakref.ref[ModelState]
) -> None:
    known = adopted.get(key)
    if known is not None and known[0] is gone:
        adopted.pop(key, None)  # within garbage collection, so without the lock: the store may be closing
