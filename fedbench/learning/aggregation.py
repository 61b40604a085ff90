"""Federated averaging as a stream of updates, independent of their order of arrival. Pure.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS
2017, algorithm 1: ``w = Σ n_k·w_k / Σ n_k`` over the clients k of the round, with n_k examples each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from fedbench.tensors.model import Array, Layout, ModelState, TensorSpec

CHUNK_BYTES = 1 << 20
"""Arrays are reduced in pieces of this size, so that the scratch memory stays in the cache."""


class Turn(NamedTuple):
    """An update whose turn it is to be reduced.

    Attributes:
        model: The update.
        num_examples: Its weight.
        first: Whether it is the first.
    """

    model: ModelState
    num_examples: int
    first: bool


class StreamingAverage:
    """The weighted mean of the updates of one round, reduced while they arrive.

    Positions 0 to count - 1 are reduced strictly in that order, so the result is the same, bit for bit,
    whatever order the updates arrive in. Only those that arrive before their turn are held: in order of
    position nothing but the sum and the update at hand is in memory.

    Floating and complex arrays are summed in their own dtype, except float16, which cannot hold the product
    of a value and a number of examples and is summed in float32. Integer and boolean arrays are summed in
    float64 (exact below 2**53) and the mean is rounded to the nearest integer, halves to the even one: a
    boolean is true where more than half of the examples say so. Infinities and NaNs spread as in IEEE 754.

    Args:
        template: The global model: every update must have its layout.
        count: Number of positions, at least 1.

    Attributes:
        num_examples: Sum of the weights reduced so far.

    Raises:
        ValueError: ``count`` is below 1.
    """

    def __init__(self, template: ModelState, count: int) -> None:
        if count < 1:
            raise ValueError(f"count is {count}: an average needs at least 1 position")
        self.num_examples = 0
        self._count = count
        self._layout = self._accepted = template.layout
        self._draft = template.draft()
        self._sums = {name: _accumulator(array) for name, array in self._draft.items()}
        self._waiting: dict[int, tuple[ModelState, int] | None] = {}
        self._next = 0

    @property
    def held(self) -> int:
        """Updates that wait for an earlier position."""
        return sum(update is not None for update in self._waiting.values())

    def add(self, position: int, model: ModelState, num_examples: int) -> None:
        """Take the update of a position; it is reduced as soon as every lower position is settled.

        Args:
            position: Its place in the order of reduction.
            model: The update.
            num_examples: Its weight, at least 1.

        Raises:
            ValueError: The position does not exist or is settled already, the weight is below 1, or the
                layout differs from the template's. Nothing has changed then.
        """
        self.offer(position, (model, num_examples))
        self.reduce_all()

    def skip(self, position: int) -> None:
        """Settle a position that gives no update.

        Raises:
            ValueError: The position does not exist or is settled already.
        """
        self.offer(position, None)
        self.reduce_all()

    def finish(self, version: int) -> ModelState:
        """Return the mean, in the template's layout. Ends the average; open positions count as skipped.

        Args:
            version: Version of the new model, >= 0.

        Raises:
            ValueError: There was no update, or this was called before.
        """
        while self._next < self._count:
            self.skip(self._next)
        if not self._sums or not self.num_examples:
            raise ValueError("there is no update to average")
        self.divide(0, 1)
        return self.freeze(version)

    # In parts ------------------------------------------------------------------------------------------

    def offer(self, position: int, update: tuple[ModelState, int] | None) -> None:
        """Settle a position, as :meth:`add` (an update and its weight) or :meth:`skip` (None), and no more.

        Its turn to be reduced comes by :meth:`turn`.

        Raises:
            ValueError: As for :meth:`add`.
        """
        if update is not None:
            self._check(*update)
        if not 0 <= position < self._count:
            raise ValueError(f"position {position} does not exist: there are 0 to {self._count - 1}")
        if position < self._next or position in self._waiting:
            raise ValueError(f"position {position} is settled already: one update counts once")
        self._waiting[position] = update

    def turn(self) -> Turn | None:
        """Return the update to reduce next, counted from now on; None if none is settled whose turn it is.

        It must be reduced wholly, by :meth:`reduce` for each of its parts, before the next is asked for.
        """
        while self._next in self._waiting:
            update = self._waiting.pop(self._next)
            self._next += 1
            if update is not None:
                first = not self.num_examples
                self.num_examples += update[1]
                return Turn(*update, first)
        return None

    def reduce(self, turn: Turn, part: int, parts: int) -> None:
        """Add one part of an update to the sum. Parts touch different memory: each may have its own thread.

        Args:
            turn: What :meth:`turn` returned.
            part: Which part, from 0.
            parts: How many there are; the result is the same, bit for bit, for any number.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            for name, total in self._sums.items():
                start, stop = total.size * part // parts, total.size * (part + 1) // parts
                values = turn.model[name].reshape(-1)[start:stop]
                if turn.first:
                    np.multiply(values, turn.num_examples, out=total[start:stop], dtype=total.dtype)
                else:
                    _add_scaled(total[start:stop], values, turn.num_examples)

    def divide(self, part: int, parts: int) -> None:
        """Divide one part of the sum by the weight of all updates; parts as for :meth:`reduce`."""
        with np.errstate(over="ignore", invalid="ignore"):
            for name, whole in self._sums.items():
                start, stop = whole.size * part // parts, whole.size * (part + 1) // parts
                total, target = whole[start:stop], self._draft[name].reshape(-1)[start:stop]
                np.divide(total, self.num_examples, out=total)
                if total.dtype != target.dtype:
                    target[...] = total if target.dtype.kind == "f" else np.rint(total, out=total)

    def freeze(self, version: int) -> ModelState:
        """Return the mean once every part of it is divided. Ends the average."""
        self._sums.clear()
        return self._draft.freeze(version)

    def _check(self, model: ModelState, num_examples: int) -> None:
        if num_examples < 1:
            raise ValueError(f"num_examples is {num_examples}: an update needs at least 1 example")
        layout = model.layout
        if layout is not self._accepted:  # those of all clients of a federation are one object
            if layout != self._layout:
                raise ValueError(_difference(layout, self._layout))
            self._accepted = layout

    def reduce_all(self) -> None:
        """Reduce every update whose turn has come."""
        while (turn := self.turn()) is not None:
            self.reduce(turn, 0, 1)


def _add_scaled(total: Array, values: Array, factor: int) -> None:
    step = CHUNK_BYTES // total.itemsize
    scratch = np.empty(min(total.size, step), total.dtype)
    for start in range(0, total.size, step):
        chunk = total[start : start + step]
        scaled = scratch[: chunk.size]
        np.multiply(values[start : start + step], factor, out=scaled, dtype=total.dtype)
        np.add(chunk, scaled, out=chunk)


def _accumulator(array: Array) -> Array:
    """Return flat memory for a sum: the array's own where its dtype can hold one."""
    if array.dtype.kind in "biu":
        return np.empty(array.size, np.float64)
    if array.dtype == np.float16:
        return np.empty(array.size, np.float32)
    return array.reshape(-1)


def _difference(found: Layout, expected: Layout) -> str:
    """Name the first array that differs and what the client should do."""
    remedy = "build the update with model.draft() in the learner's train"
    ours = {spec.name: spec for spec in expected.specs}
    theirs = {spec.name: spec for spec in found.specs}
    for name in [*ours, *theirs]:
        if _form(ours.get(name)) != _form(theirs.get(name)):
            return (
                f"array {name!r} is {_form(theirs.get(name))} in the update and {_form(ours.get(name))} in "
                f"the global model: {remedy}"
            )
    name = next(name for name, other in zip(ours, theirs, strict=True) if name != other)
    return f"array {name!r} has another place in the update than in the global model: {remedy}"


def _form(spec: TensorSpec | None) -> str:
    return "missing" if spec is None else f"{spec.dtype} {spec.shape}"
