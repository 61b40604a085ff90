"""Federated averaging as a stream of updates. Pure.

``w = sum(n_k * w_k) / sum(n_k)`` over the clients k with n_k examples each: FedAvg, Algorithm 1 of McMahan et
al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fedbench.tensors.model import Array, ModelState

CHUNK_BYTES = 1 << 20


class StreamingAverage:
    """The weighted average of updates that arrive in any order, reduced in one fixed order.

    Positions ``0 .. count - 1`` are reduced one after the other; an update that arrives before its turn is
    held until then. The result is the same, bit for bit, for every order of arrival. Floating-point and
    complex arrays are accumulated in their own dtype; integers and booleans in float64 and rounded to the
    nearest (half to even).

    Args:
        template: A model of the expected layout.
        count: Number of positions.
    """

    def __init__(self, template: ModelState, count: int) -> None:
        self._template = template
        self._count = count
        self._next = 0
        self._waiting: dict[int, tuple[ModelState, int] | None] = {}
        self._draft = template.draft()
        self._sums: dict[str, Array] = {
            name: array if array.dtype.kind in "fc" else np.empty(array.shape, np.float64)
            for name, array in self._draft.items()
        }
        self.num_examples = 0

    @property
    def held(self) -> int:
        """Updates that wait for an earlier position."""
        return sum(entry is not None for entry in self._waiting.values())

    def add(self, position: int, model: ModelState, num_examples: int) -> None:
        """Take the update of a position.

        Args:
            position: In ``0 .. count - 1``, each once.
            model: The update, of the template's layout.
            num_examples: Its weight, at least 1.

        Raises:
            ValueError: The position was taken before or does not exist, the layout differs, or the weight is
                below 1. Nothing has changed then.
        """
        self.check(model, num_examples)
        self._place(position, (model, num_examples))

    def check(self, model: ModelState, num_examples: int) -> None:
        """Raise ValueError if an update could not be added."""
        if num_examples < 1:
            raise ValueError(f"an update of {num_examples} examples has no weight: 1 is the least")
        if model.layout == self._template.layout:
            return
        expected = {spec.name: (spec.shape, spec.dtype) for spec in self._template.layout.specs}
        found = {spec.name: (spec.shape, spec.dtype) for spec in model.layout.specs}
        for name in [*expected, *found]:
            if expected.get(name) != found.get(name):
                raise ValueError(
                    f"array {name!r} of the update is {found.get(name, 'missing')}, expected "
                    f"{expected.get(name, 'no such array')}: train must return the arrays that it was given"
                )
        raise ValueError("the arrays of the update are in another order: build it with model.draft()")

    def skip(self, position: int) -> None:
        """There is no update for a position.

        Raises:
            ValueError: The position was taken before or does not exist.
        """
        self._place(position, None)

    def finish(self, version: int) -> ModelState:
        """Return the average as a model of ``version``; positions that nobody took count as skipped.

        Raises:
            ValueError: There was no update at all.
        """
        for position in range(self._next, self._count):
            if position not in self._waiting:
                self.skip(position)
        if self.num_examples == 0:
            raise ValueError("no update was added: there is nothing to average")
        for name, total in self._sums.items():
            target = self._draft[name]
            np.divide(total, total.dtype.type(self.num_examples), out=total)
            if total is not target:
                target[...] = np.rint(total)
        return self._draft.freeze(version)

    def _place(self, position: int, entry: tuple[ModelState, int] | None) -> None:
        if not 0 <= position < self._count:
            raise ValueError(f"position {position} does not exist: there are {self._count}")
        if position < self._next or position in self._waiting:
            raise ValueError(f"position {position} was taken before: one update counts once")
        self._waiting[position] = entry
        while self._next in self._waiting:
            ready = self._waiting.pop(self._next)
            self._next += 1
            if ready is not None:
                self._reduce(*ready)

    def _reduce(self, model: ModelState, num_examples: int) -> None:
        first = self.num_examples == 0
        self.num_examples += num_examples
        for name, total in self._sums.items():
            _accumulate(total.reshape(-1), model[name].reshape(-1), num_examples, first=first)


def _accumulate(total: Array, values: Array, weight: int, *, first: bool) -> None:
    """``total += weight * values``, in chunks that stay in the cache; ``total = …`` for the first update."""
    factor = total.dtype.type(weight)
    step = max(CHUNK_BYTES // total.itemsize, 1)
    scratch = None if first else np.empty(min(step, total.size), total.dtype)
    for start in range(0, total.size, step):
        part = slice(start, start + step)
        if scratch is None:
            np.multiply(values[part], factor, out=total[part])
        else:
            product = scratch[: total[part].size]
            np.multiply(values[part], factor, out=product)
            np.add(total[part], product, out=total[part])
