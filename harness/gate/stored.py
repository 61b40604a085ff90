"""Stored runs as what a comparison takes: samples by metric, as multiples of their floor. Pure.

Two stored runs were made at different times, when the machine may have been faster or slower altogether. So
what is a time is divided by the time of the floor in the same block; counts and sizes are taken as they are.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from harness.gate.compare import Key, Sides
from harness.gate.margins import telling
from harness.records.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records.schema import Observation

YARDSTICKS = ("floors", "grpc_aio", "polling")
"""Stacks that others are measured against: a change of theirs is none of ours."""

_TIMES = ("s", "s/op", "cores")
ONLY_CANDIDATE = ": only the candidate has it"
FLOOR_METRIC = "latency_p50_s"

Values = dict[int, float]
"""Value of a metric by block."""


class Cell(NamedTuple):
    """What two runs must have in common to be compared."""

    arm: str
    workload: str


class Stored(NamedTuple):
    """A run by metric.

    Attributes:
        values: Of every metric, by block; times as multiples of the floor if there is one.
        setups: What each cell ran, to be equal on both sides.
        failed: Cells that did not end well, and why.
        floor_s: Median of the floor, in seconds; None unless every block has one and it was asked for.
        steps: Every block, in order.
    """

    values: dict[Key, Values]
    setups: dict[Cell, tuple[object, ...]]
    failed: dict[Cell, str]
    floor_s: float | None
    steps: list[int]

    def at(self, floor_s: float | None) -> dict[Key, Values]:
        """Return the values as they would be on a machine with that floor; as they are for None."""
        if floor_s is None:
            return self.values
        return {
            key: {block: value * floor_s for block, value in values.items()} if _is_time(key) else values
            for key, values in self.values.items()
        }


def stored(observations: Iterable[Observation], *, floored: bool = True) -> Stored:
    """Return what of a run is compared.

    Args:
        observations: All of its observations.
        floored: Whether to divide times by the floor, where every block has one.
    """
    found = list(observations)
    floors = _floors(found)
    steps = sorted({o.block for o in found})
    subject = [o for o in found if o.stack not in YARDSTICKS]
    floored = floored and bool(subject) and all((o.loop, o.block) in floors for o in subject)
    values: dict[Key, Values] = {}
    setups: dict[Cell, tuple[object, ...]] = {}
    failed: dict[Cell, str] = {}
    for o in subject:
        cell = Cell(o.arm, o.workload)
        setups[cell] = (
            o.stack,
            o.mode,
            o.loop,
            o.kind,
            tuple(sorted((k, str(v)) for k, v in o.params.items())),
        )
        if o.status != "ok":
            failed.setdefault(cell, f"{o.status} in block {o.block}: {'; '.join(o.reasons)}")
            continue
        for name in telling(o.metrics):
            key, value = Key(*cell, name), o.metrics[name]
            assert value is not None
            scale = floors[o.loop, o.block] if floored and _is_time(key) else 1.0
            values.setdefault(key, {})[o.block] = value / scale
    floor_s = statistics.median(floors.values()) if floored else None
    return Stored(values, setups, failed, floor_s, steps)


def _is_time(key: Key) -> bool:
    return METRICS[key.metric].unit in _TIMES


def unpaired(base: Stored, candidate: Stored) -> tuple[dict[Key, tuple[list[float], Values]], list[str]]:
    """Return the samples that both runs have, as :func:`harness.gate.compare.halved` takes them.

    Multiples of the floor become times again, as on a machine as fast as the base's was. The second list
    says what is not compared, and why.
    """
    sides = {}
    befores = base.at(base.floor_s)
    for key, values in candidate.at(base.floor_s).items():
        cell = Cell(key.arm, key.workload)
        before = befores.get(key)
        if before and _comparable(cell, base, candidate):
            sides[key] = (list(before.values()), values)
    return sides, _left_out(base, candidate)


def paired(base: Stored, candidate: Stored) -> tuple[dict[Key, Sides], list[str]]:
    """Return the samples of the blocks that both sides have, and what is not compared.

    Block by block they must have been measured together.
    """
    sides = {}
    for key, values in candidate.values.items():
        before = base.values.get(key, {})
        common = sorted(before.keys() & values.keys())
        if common and _comparable(Cell(key.arm, key.workload), base, candidate):
            sides[key] = Sides([before[b] for b in common], [values[b] for b in common])
    return sides, _left_out(base, candidate)


def _comparable(cell: Cell, base: Stored, candidate: Stored) -> bool:
    if cell in base.failed or cell in candidate.failed:
        return False
    return cell in candidate.setups and base.setups.get(cell) == candidate.setups[cell]


def _left_out(base: Stored, candidate: Stored) -> list[str]:
    lines = []
    for cell in dict.fromkeys((*base.setups, *candidate.setups)):
        name = f"{cell.arm} {cell.workload}"
        if cell not in candidate.setups:
            lines.append(f"{name}: only the base has it")
        elif cell not in base.setups:
            lines.append(f"{name}{ONLY_CANDIDATE}")
        elif base.setups[cell] != candidate.setups[cell]:
            lines.append(f"{name}: it ran with other parameters")
        for side, run in (("base", base), ("candidate", candidate)):
            if cell in run.failed:
                lines.append(f"{name}: the {side} {run.failed[cell]}")
    for key in sorted(base.values.keys() ^ candidate.values.keys()):
        if _comparable(Cell(key.arm, key.workload), base, candidate):
            ending = ": only the base has it" if key in base.values else ONLY_CANDIDATE
            lines.append(f"{' '.join(key)}{ending}")
    return lines


def _floors(observations: Iterable[Observation]) -> dict[tuple[str, int], float]:
    """Return the time of the first floor of each loop and block."""
    floors: dict[tuple[str, int], float] = {}
    for o in observations:
        value = o.metrics.get(FLOOR_METRIC) if o.stack == "floors" and o.status == "ok" else None
        if value:
            floors.setdefault((o.loop, o.block), value)
    return floors
