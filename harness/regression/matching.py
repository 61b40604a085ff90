"""What two runs have in common, as samples of a comparison. Pure.

Two stored runs were made at different times, when the machine may have been faster or slower altogether. So
what is a time is divided by the time of a floor in the same block, and told as it would be with that floor
as fast as in the base. So is the CPU of what goes on at a rate that is given; of what goes as fast as it can
the CPU for an operation is compared. Counts and sizes are taken as they are.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from harness.records.metrics import METRICS
from harness.regression.margins import telling
from harness.regression.stored import VOID_SHARE, Cell, Setup
from harness.regression.verdict import Key, Sides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.regression.stored import Stored, Values

_TIMES = ("s", "s/op", "cores")

Yardsticks = dict[str, tuple[Cell, Setup]]
"""The floor that times on each event loop are divided by."""


class LeftOut(NamedTuple):
    """What is not compared, and why, a line each.

    Attributes:
        lacking: Of this nothing can be told, although the base has it.
        new: This only the candidate has.
    """

    lacking: list[str]
    new: list[str]


def unpaired(
    base: Stored, candidate: Stored, sticks: Yardsticks | None
) -> tuple[dict[Key, Sides], dict[Key, Values]]:
    """Return the samples that two runs made apart have in common, and those of the candidate by block.

    Args:
        base: The base.
        candidate: The candidate.
        sticks: What times are divided by; None to take them as they are.
    """
    sides, blocks = {}, {}
    for key in compared(base, candidate):
        if untold(key, base, sticks):
            continue
        before, after = (_values(run, key, sticks, base) for run in (base, candidate))
        sides[key] = Sides([*before.values()], [*after.values()], paired=False)
        blocks[key] = after
    return sides, blocks


def paired(base: Stored, candidate: Stored) -> dict[Key, Sides]:
    """Return the samples of the blocks that both sides have; block by block they were measured together."""
    sides = {}
    for key in compared(base, candidate):
        before, after = base.values[key], candidate.values[key]
        common = sorted(before.keys() & after.keys())
        if common:
            sides[key] = Sides([before[b] for b in common], [after[b] for b in common])
    return sides


def at_floor(run: Stored, sticks: Yardsticks) -> dict[Key, Values]:
    """Return what of a run is compared, times as they would be with the floors at their median."""
    return {key: _values(run, key, sticks, run) for key in compared(run, run) if not untold(key, run, sticks)}


def yardsticks(*runs: Stored) -> Yardsticks | None:
    """Return for each event loop the first floor that all runs timed, in nearly every block.

    A loop of which there is none lacks; None if no run has any floors at all.
    """
    if not any(run.floors for run in runs):
        return None
    common = sorted(
        floor
        for floor in runs[0].floors
        if all(len(run.floors.get(floor, {})) >= (1 - VOID_SHARE) * len(run.steps) for run in runs)
    )
    return {floor[1].loop: floor for floor in reversed(common)}


def untold(key: Key, run: Stored, sticks: Yardsticks | None) -> bool:
    """Whether a metric is a time that floors should tell, and there is none for its event loop."""
    if sticks is None or not is_time(key):
        return False
    return run.setups[Cell(key.arm, key.workload)].loop not in sticks


def is_time(key: Key) -> bool:
    """Whether a metric follows the speed of the machine."""
    return METRICS[key.metric].unit in _TIMES


def compared(base: Stored, candidate: Stored) -> list[Key]:
    """Return the metrics that both runs have: of those of a cell that say the same, one."""
    return [
        Key(*cell, name)
        for cell in candidate.setups
        if _comparable(cell, base, candidate)
        for name in telling(base.metrics(cell) & candidate.metrics(cell))
        if not _sparse(Key(*cell, name), base, candidate)
    ]


def left_out(base: Stored, candidate: Stored, sticks: Yardsticks | None = None) -> LeftOut:
    """Return what is not compared, and why.

    Args:
        base: The base.
        candidate: The candidate.
        sticks: What times are divided by; None if they are taken as they are.
    """
    found = LeftOut([], [])
    for cell in dict.fromkeys((*base.setups, *candidate.setups)):
        name = f"{cell.arm} {cell.workload}"
        problems = [
            f"{name}: the {side} {why}"
            for side, run in (("base", base), ("candidate", candidate))
            if (why := run.unfit(cell))
        ]
        here, there = _there(cell, base), _there(cell, candidate)
        if here and not there:
            lost = f" (unsupported: {candidate.unsupported[cell]})" if cell in candidate.unsupported else ""
            problems.append(f"{name}: only the base has it{lost}")
        elif there and not here:
            found.new.append(f"{name}: only the candidate has it")
        elif here and base.setups[cell] != candidate.setups[cell]:
            problems.append(f"{name}: it ran with other parameters")
        elif here and not problems:
            before, after = base.metrics(cell), candidate.metrics(cell)
            problems += [f"{name} {m}: only the base has it" for m in _beyond(before, after)]
            found.new.extend(f"{name} {m}: only the candidate has it" for m in _beyond(after, before))
            keys = [Key(*cell, m) for m in telling(before & after)]
            problems += filter(None, (_sparse(key, base, candidate) for key in keys))
            problems += [
                f"{' '.join(key)}: not every block has a floor" for key in keys if untold(key, base, sticks)
            ]
        found.lacking.extend(problems)
    return found


def controlled(samples: Mapping[Key, Sides], control: Mapping[Key, Sides]) -> dict[Key, Sides]:
    """Return paired samples with their control: the base, measured again in each block."""
    found = {}
    for key, sides in samples.items():
        again: Sequence[tuple[float, float]] = ()
        if key in control:
            again = list(zip(control[key].base, control[key].candidate, strict=True))
        found[key] = sides._replace(control=again)
    return found


def _sparse(key: Key, base: Stored, candidate: Stored) -> str:
    """Return in how many blocks the candidate measured a metric, if that is far fewer than in the base."""
    shares = [len(run.values[key]) / len(run.steps) for run in (base, candidate)]
    if shares[1] >= shares[0] - VOID_SHARE:
        return ""
    measured = f"measured in {len(candidate.values[key])} of {len(candidate.steps)} blocks"
    return f"{' '.join(key)}: the candidate {measured} only"


def _beyond(metrics: set[str], others: set[str]) -> list[str]:
    """Return what tells of a cell with these metrics, and is not among the others."""
    return [name for name in telling(metrics) if name not in others]


def _there(cell: Cell, run: Stored) -> bool:
    return cell in run.setups and cell not in run.unsupported


def _comparable(cell: Cell, base: Stored, candidate: Stored) -> bool:
    ran = all(_there(cell, run) and not run.unfit(cell) for run in (base, candidate))
    return ran and base.setups[cell] == candidate.setups[cell]


def _values(run: Stored, key: Key, sticks: Yardsticks | None, like: Stored) -> Values:
    """Return the values of a metric; times as they would be with the floor at its median of another run."""
    values = run.values[key]
    if sticks is None or not is_time(key):
        return values
    stick = sticks[run.setups[Cell(key.arm, key.workload)].loop]
    floors, usual = run.floors[stick], statistics.median(like.floors[stick].values())
    return {block: value / floors[block] * usual for block, value in values.items() if block in floors}
