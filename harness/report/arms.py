"""Which arm is which: the order they are shown in, and which are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.ids import MODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.records.schema import CellRecord, Observation

_STACKS = ("push", "polling")


def is_swept(arm: str) -> bool:
    """Return whether a sweep made the arm; it is named ``<base>@<value>``."""
    return swept_value(arm) is not None


def swept_value(arm: str) -> float | None:
    """Return the value of the sweep's setting, as it stands in the arm's name; None for other arms."""
    _, at, value = arm.rpartition("@")
    try:
        return float(value) if at else None
    except ValueError:
        return None


def by_arm(cells: Iterable[CellRecord]) -> list[CellRecord]:
    """Return cells in the order of their arms: push, polling, others; the sweep last, by value.

    Cells come in the order in which they were first run, which is drawn anew for each run.
    """
    return sorted(cells, key=_rank)


def arm_order(observations: Iterable[Observation]) -> dict[str, int]:
    """Return the place of each arm in that order."""
    first = {o.arm: o for o in observations}
    return {arm: place for place, arm in enumerate(sorted(first, key=lambda arm: _rank(first[arm])))}


def modes(cells: Iterable[CellRecord | Observation]) -> list[str]:
    """Return the modes that cells ran in, in the order of :data:`fedbench.ids.MODES`."""
    found = {cell.mode for cell in cells}
    return [mode for mode in MODES if mode in found]


def reference_arms(cells: Sequence[CellRecord], mode: str) -> dict[str, str]:
    """Return the arm that stands for push and the one that stands for polling in a mode.

    Those with the shortest names do: their variants are named after them. A stack without an arm is absent.
    """
    names = {
        stack: sorted({c.arm for c in cells if (c.stack, c.mode) == (stack, mode)}, key=_length)
        for stack in _STACKS
    }
    return {stack: arms[0] for stack, arms in names.items() if arms}


def _length(arm: str) -> tuple[int, str]:
    return len(arm), arm


def _rank(cell: CellRecord | Observation) -> tuple[bool, float, int, int, tuple[int, str]]:
    value = swept_value(cell.arm)
    stack = _STACKS.index(cell.stack) if cell.stack in _STACKS else len(_STACKS)
    mode = modes((cell,))
    return value is not None, value or 0.0, MODES.index(mode[0]) if mode else 0, stack, _length(cell.arm)
