"""ModelState: an immutable model in one aligned buffer. ModelDraft: the writable form it is built in."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

import numpy as np

from fedbench.tensors.layout import ALIGNMENT_BYTES, Array, Layout, TensorSpec
from fedbench.tensors.store import HEAP, Block, TensorStore

__all__ = ["ALIGNMENT_BYTES", "Array", "Layout", "ModelDraft", "ModelState", "TensorSpec"]


def _views(buffer: memoryview, layout: Layout) -> dict[str, Array]:
    # Not np.ndarray(buffer=…), which looks through a read-only memoryview at what lies behind it.
    views = {}
    for name, shape, dtype, count, offset in layout.forms:
        views[name] = np.frombuffer(buffer, dtype, count, offset).reshape(shape)
    return views


class ModelState(Mapping[str, Array]):
    """An immutable, ordered mapping from names to read-only arrays.

    All arrays lie in one contiguous, 64-byte-aligned buffer. They are views of read-only memory: numpy
    refuses to make them writable again. A ModelState may therefore be handed to anybody by reference.

    Make one with :meth:`from_arrays` (copies) or :meth:`draft` and :meth:`ModelDraft.freeze` (does not).

    Attributes:
        layout: Names, shapes, dtypes and places of the arrays.
        block: The memory it lies in.
        version: Grows with every model made from this one; a receiver drops what is not newer.
    """

    __slots__ = ("__weakref__", "_arrays", "_buffer", "block", "layout", "version")

    layout: Layout
    version: int
    block: Block

    def __init__(self, block: Block, layout: Layout, version: int) -> None:
        """Wrap ``block``, which nobody may write to any more.

        Raises:
            ValueError: The version is negative.
        """
        if version < 0:
            raise ValueError(f"version {version} is negative")
        self._buffer = block.buffer.toreadonly()
        self._arrays: dict[str, Array] | None = None  # made when somebody looks: many models are only sent
        self.block = block
        self.layout = layout
        self.version = version

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], version: int = 0, store: TensorStore = HEAP
    ) -> ModelState:
        """Copy ``arrays`` into a new model.

        Args:
            arrays: Name to array (anything ``np.asarray`` takes), any shape of up to 8 dimensions.
            version: Version of the new model, >= 0.
            store: Where it lies, and the drafts made from it.

        Raises:
            TensorStoreFull: The store has no room.
            TypeError: A dtype is not a native boolean, integer, float or complex.
            ValueError: There is no array, one has too many dimensions, or the version is negative.
        """
        sources = {name: np.asarray(array) for name, array in arrays.items()}
        draft = ModelDraft(Layout.of(sources), base_version=version - 1, store=store)
        for name, source in sources.items():
            draft[name][...] = source
        return draft.freeze()

    def __getitem__(self, name: str) -> Array:
        return (self._arrays or self._look())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays or self._look())

    def items(self) -> ItemsView[str, Array]:
        """Return names and arrays."""
        return (self._arrays or self._look()).items()

    def __len__(self) -> int:
        return len(self.layout.specs)

    def __repr__(self) -> str:
        return f"<ModelState version={self.version} arrays={len(self)} bytes={self.nbytes}>"

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same arrays, bit for bit, in the same order; versions do not matter."""
        if not isinstance(other, ModelState):
            return NotImplemented
        return self.layout == other.layout and all(
            self[name].tobytes() == other[name].tobytes() for name in self
        )

    def _look(self) -> dict[str, Array]:
        arrays = self._arrays = _views(self._buffer, self.layout)
        return arrays

    @property
    def nbytes(self) -> int:
        """Size of the buffer in bytes, padding included."""
        return self.layout.nbytes

    @property
    def buffer(self) -> memoryview:
        """The whole buffer, read-only."""
        return self._buffer

    def draft(self, *, copy: bool = False) -> ModelDraft:
        """Begin the next model: writable arrays of the same layout.

        Args:
            copy: Start from this model's values; otherwise the arrays hold whatever memory held.

        Raises:
            TensorStoreFull: The store that its drafts lie in has no room.
        """
        draft = ModelDraft(self.layout, base_version=self.version, store=self.block.store)
        if copy:
            for name, array in self.items():
                draft[name][...] = array
        return draft

    def with_version(self, version: int) -> ModelState:
        """Return a model over the same memory with another version, >= 0."""
        return ModelState(self.block, self.layout, version)


class ModelDraft(Mapping[str, Array]):
    """A model being built: writable arrays in the layout and memory of the next :class:`ModelState`.

    :meth:`freeze` ends writing: it makes the arrays handed out here read-only and returns the model over the
    same memory. Slices taken from those arrays must not be kept beyond it.
    """

    __slots__ = ("_arrays", "_base_version", "_block", "layout")

    def __init__(self, layout: Layout, *, base_version: int, store: TensorStore = HEAP) -> None:
        self.layout = layout
        self._base_version = base_version
        self._block: Block | None = store.allocate(layout)
        self._arrays = _views(self._block.buffer, layout)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Copy ``value`` into the array ``name``, so that ``draft["w"] -= step`` works too."""
        if value is not self._arrays[name]:
            self._arrays[name][...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def freeze(self, version: int | None = None) -> ModelState:
        """End writing and return the model over the same memory, without a copy.

        Args:
            version: Version of the model; by default one more than that of the model drafted from.

        Raises:
            ValueError: The draft was frozen already, or the version is negative; the draft stays as it was.
        """
        if self._block is None:
            raise ValueError("this draft was frozen already: begin another with model.draft()")
        model = ModelState(self._block, self.layout, self._base_version + 1 if version is None else version)
        self._block = None
        for array in self._arrays.values():
            array.flags.writeable = False
        return model
