"""Observations by cell: the view of a run that decisions are made on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.schema import Control, Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Samples:
    """The observations of a run, by arm and workload.

    Args:
        observations: All of them, in any order.
    """

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._cells: dict[tuple[str, str], dict[int, Observation]] = {}
        for observation in observations:
            self._cells.setdefault((observation.arm, observation.workload), {})[observation.block] = (
                observation
            )

    def arms(self, workload: str) -> list[str]:
        """Return the arms that ran a workload."""
        return [arm for arm, name in self._cells if name == workload]

    def cell(self, arm: str, workload: str) -> list[Observation]:
        """Return a cell's observations by block."""
        blocks = self._cells.get((arm, workload), {})
        return [blocks[block] for block in sorted(blocks)]

    def values(self, arm: str, workload: str, metric: str) -> dict[int, float]:
        """Return the metric's value of each block whose cell ended well."""
        return {
            observation.block: value
            for observation in self.cell(arm, workload)
            if observation.status == "ok" and (value := observation.metrics.get(metric)) is not None
        }

    def pairs(
        self, base: tuple[str, str], candidate: tuple[str, str], metric: str
    ) -> tuple[list[float], list[float]]:
        """Return both sides' values in the blocks that have both, given as ``(arm, workload)``."""
        left, right = self.values(*base, metric), self.values(*candidate, metric)
        blocks = sorted(left.keys() & right.keys())
        return [left[block] for block in blocks], [right[block] for block in blocks]


def control(samples: Samples, base: str, again: str, workload: str, metric: str) -> Control:
    """Return how far two runs of the same arm lay apart, as largest log-ratio and as largest difference.

    Two equal values are no spread, zeros included. The spread is null where only one of two is zero, or there
    is no pair: it cannot be told.
    """
    left, right = samples.pairs((base, workload), (again, workload), metric)
    return Control(
        arm=base,
        workload=workload,
        metric=metric,
        spread=_spread(left, right),
        difference=max((abs(b - a) for a, b in zip(left, right, strict=True)), default=0.0),
        n=len(left),
    )


def _spread(left: Sequence[float], right: Sequence[float]) -> float | None:
    different = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
    if not left or any(min(pair) <= 0 for pair in different):
        return None
    return max((abs(math.log(b / a)) for a, b in different), default=0.0)
