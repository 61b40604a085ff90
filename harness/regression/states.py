"""Whether two stored runs were made in comparable states of a machine; if not, nothing is compared. Pure."""

from __future__ import annotations

import math
import statistics
from datetime import datetime
from typing import TYPE_CHECKING

from fedbench.errors import Problem
from harness.regression.baselines import NoBaseline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.regression.runs import StoredRun
    from harness.regression.stored import Stored

APART_DAYS = 7
"""From here on a machine may have become another."""
OTHER_SPEED = 1.5
"""Factor between the floors of two runs from which nothing else of them is comparable."""
SAID_SPEED = 1.1
"""Factor from which it is said."""
UNSTEADY = 0.5
"""Spread of a floor's logarithm from block to block (1.48 x MAD) from which a run shows the machine only."""
SCALE = 1.4826
"""Standard deviations of a normal distribution for each median absolute deviation."""
HARNESS = ("fedbench", "matplotlib", "pandas", "psutil")
"""Packages that no measured process runs, or that are what is compared."""
REMEDY = "measure both versions on one machine by `fedbench ab REF_A REF_B`"


def refuse(base: StoredRun, candidate: StoredRun, before: Stored, after: Stored) -> None:
    """Raise where a difference between the runs would say more of the machine than of the code.

    Raises:
        NoBaseline: Another kernel or other packages; floors that differ by more than :data:`OTHER_SPEED`, or
            vary by more than :data:`UNSTEADY` from block to block.
    """
    problems = [
        f"{base.name} was measured with {name} {there.get(part)}, and {candidate.name} with {here.get(part)}"
        for name, part, there, here in _parts(base, candidate)
        if there.get(part) and here.get(part) and there[part] != here[part]
    ]
    factor = _speed(before, after)
    if factor is not None and not 1 / OTHER_SPEED <= factor <= OTHER_SPEED:
        problems.append(
            f"the floors took {factor:.2f} times as long as in {base.name}: the machine is in another state"
        )
    for name, run in ((base.name, before), (candidate.name, after)):
        spread = _unsteadiness(run)
        if spread > UNSTEADY:
            problems.append(
                f"{name} is of a machine too noisy: its floors varied by {spread:.0%} from block to block"
            )
    if problems:
        raise NoBaseline(base.name, [Problem("", f"{line}; {REMEDY}") for line in problems])


def differences(base: StoredRun, candidate: StoredRun, before: Stored, after: Stored) -> Iterator[str]:
    """Return what was otherwise when the base was measured, a sentence each."""
    there, here = base.record.environment, candidate.record.environment
    for name in ("kernel", "governor", "packages"):
        if there.get(name) != here.get(name):
            yield f"{name} differs: {base.name} had {there.get(name)}, {candidate.name} {here.get(name)}"
    factor = _speed(before, after)
    if factor is not None and not 1 / SAID_SPEED <= factor <= SAID_SPEED:
        yield (
            f"the floors took {factor:.2f} times as long as in {base.name}: the machine; "
            "times are told as at the base's speed"
        )
    days = abs((_when(candidate) - _when(base)).days)
    if days >= APART_DAYS:
        yield f"the runs lie {days} days apart: measure both by `fedbench ab` before you act on a time"


def _parts(
    base: StoredRun, candidate: StoredRun
) -> Iterator[tuple[str, str, Mapping[str, str], Mapping[str, str]]]:
    """Return what must be the same: its name, its key, and where either run tells it."""
    there, here = base.record.environment, candidate.record.environment
    yield "kernel", "kernel", there, here
    was, now = there.get("packages") or {}, here.get("packages") or {}
    for package in sorted(was.keys() & now.keys() - {*HARNESS}):
        yield package, package, was, now


def _speed(base: Stored, candidate: Stored) -> float | None:
    """Return the geometric mean of how many times as long the floors took, None if they share none."""
    ratios = [
        statistics.median(candidate.floors[floor].values()) / statistics.median(values.values())
        for floor, values in base.floors.items()
        if floor in candidate.floors
    ]
    return statistics.geometric_mean(ratios) if ratios else None


def _unsteadiness(run: Stored) -> float:
    """Return the largest robust spread of a floor's logarithm from block to block, 0 without floors."""
    spreads = [0.0]
    for values in run.floors.values():
        logs = [math.log(value) for value in values.values()]
        middle = statistics.median(logs)
        spreads.append(SCALE * statistics.median(abs(one - middle) for one in logs))
    return max(spreads)


def _when(run: StoredRun) -> datetime:
    """Return when a run began; results of pytest-benchmark do not say."""
    try:
        return datetime.strptime(run.record.started_utc, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return datetime.min
