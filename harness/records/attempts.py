"""Which observation of a cell counts where it was measured more than once in a block. Pure.

A cell that others disturbed is void: it is no sample, whatever it shows, and is run again at the end of its
block. Everything stays in the record; this says what is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records.schema import Observation

Spot = tuple[int, str, str]
"""Block, arm and workload of an observation."""


def spot(observation: Observation) -> Spot:
    """Return where an observation belongs."""
    return (observation.block, observation.arm, observation.workload)


def is_void(observation: Observation) -> bool:
    """Return whether others disturbed a cell so much that it is no sample."""
    return observation.disturbance is not None and bool(observation.disturbance.void)


def counted(observations: Iterable[Observation]) -> list[Observation]:
    """Return one observation for each cell of each block: its last quiet attempt, else its last attempt.

    They stand in the order in which each cell of each block was first tried.
    """
    chosen: dict[Spot, Observation] = {}
    for observation in observations:
        earlier = chosen.get(spot(observation))
        if earlier is None or is_void(earlier) or not is_void(observation):
            chosen[spot(observation)] = observation
    return list(chosen.values())
