"""Observations by cell: the view of a run that decisions are made on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.summary import is_quiet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from harness.records.schema import Observation


class Samples:
    """The observations of a run, by arm and workload.

    Of two attempts at a cell in a block the later one counts. An observation is a sample if it ended well and
    nobody disturbed it.

    Args:
        observations: All of them, in any order.
    """

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._cells: dict[tuple[str, str], dict[int, Observation]] = {}
        for observation in sorted(observations, key=lambda o: o.attempt):
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

    def quiet(self, arm: str, workload: str) -> list[Observation]:
        """Return a cell's samples by block."""
        return [o for o in self.cell(arm, workload) if o.status == "ok" and is_quiet(o)]

    def values(self, arm: str, workload: str, metric: str) -> dict[int, float]:
        """Return the metric's value of each block whose cell is a sample."""
        return {
            observation.block: value
            for observation in self.quiet(arm, workload)
            if (value := observation.metrics.get(metric)) is not None
        }

    def pairs(
        self,
        base: tuple[str, str],
        candidate: tuple[str, str],
        metric: str,
        *,
        within: Collection[int] | None = None,
    ) -> tuple[list[float], list[float]]:
        """Return both sides' values in the blocks that have both, given as ``(arm, workload)``."""
        left, right = self.values(*base, metric), self.values(*candidate, metric)
        both = left.keys() & right.keys()
        blocks = sorted(both if within is None else both.intersection(within))
        return [left[block] for block in blocks], [right[block] for block in blocks]

    def disturbed(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        """Return for each cell that others disturbed in how many blocks, and who did, a line each."""
        lines = []
        for arm, workload in cells:
            all_of = self.cell(arm, workload)
            void = [o.disturbance for o in all_of if o.disturbance is not None and o.disturbance.void]
            if void:
                who = dict.fromkeys(name for d in void for name in d.culprits) or dict.fromkeys(
                    why for d in void for why in d.void
                )
                told = ", ".join(list(who)[:NAMED])
                lines.append(f"{arm} {workload}: {len(void)} of {len(all_of)} blocks disturbed by {told}")
        return lines


NAMED = 3
"""Culprits that one line names."""
