"""Observations by cell: the view of a run that decisions are made on. Pure.

A *quiet* observation is one that ended well and that nobody disturbed. Only quiet observations are samples of
a time or an amount; what is exact (counts, answers) is taken from every observation that ended well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.attempts import counted, is_void

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records.schema import Observation

Values = dict[int, float]
"""Value of a metric by block."""


class Samples:
    """The observations of a run, by arm and workload; of several attempts in a block, the one that counts.

    Args:
        observations: All of them, in any order of the cells.
    """

    def __init__(self, observations: Iterable[Observation]) -> None:
        everything = list(observations)
        self._cells: dict[tuple[str, str], dict[int, Observation]] = {}
        self._void: dict[tuple[str, str], list[Observation]] = {}
        for observation in counted(everything):
            cell = self._cells.setdefault((observation.arm, observation.workload), {})
            cell[observation.block] = observation
        for observation in everything:
            if is_void(observation):
                self._void.setdefault((observation.arm, observation.workload), []).append(observation)

    def arms(self, workload: str) -> list[str]:
        """Return the arms that ran a workload."""
        return [arm for arm, name in self._cells if name == workload]

    def cell(self, arm: str, workload: str) -> list[Observation]:
        """Return a cell's observations by block."""
        blocks = self._cells.get((arm, workload), {})
        return [blocks[block] for block in sorted(blocks)]

    def void(self, arm: str, workload: str) -> list[Observation]:
        """Return every attempt at a cell that others disturbed."""
        return self._void.get((arm, workload), [])

    def quiet(self, arm: str, workload: str) -> list[Observation]:
        """Return a cell's quiet observations by block."""
        return [o for o in self.cell(arm, workload) if o.status == "ok" and not is_void(o)]

    def values(self, arm: str, workload: str, metric: str, *, exact: bool = False) -> Values:
        """Return the metric's value by block, of quiet observations.

        Args:
            arm: The arm.
            workload: The workload.
            metric: Name of the metric.
            exact: Whether a disturbed observation that ended well counts as well.
        """
        found = self.cell(arm, workload) if exact else self.quiet(arm, workload)
        return {
            o.block: value for o in found if o.status == "ok" and (value := o.metrics.get(metric)) is not None
        }

    def pairs(
        self, base: tuple[str, str], candidate: tuple[str, str], metric: str
    ) -> tuple[list[float], list[float]]:
        """Return both sides' values in the blocks that have both, given as ``(arm, workload)``."""
        left, right = self.values(*base, metric), self.values(*candidate, metric)
        blocks = sorted(left.keys() & right.keys())
        return [left[block] for block in blocks], [right[block] for block in blocks]
