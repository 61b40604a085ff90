"""Compare two stored runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from harness.regression.baselines import check_machine
from harness.regression.conclusion import Compared, concluded, powerless, short
from harness.regression.confirm import halved
from harness.regression.matching import left_out, unpaired, yardsticks
from harness.regression.stored import stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.records.schema import ComparisonRecord
    from harness.regression.conclusion import Rules
    from harness.regression.runs import StoredRun

APART_DAYS = 7
"""From here on a machine may have become another."""
FEWEST = 8
"""Blocks of a candidate of which each half can confirm something."""


def compare_stored(
    kind: Literal["compare", "check"],
    base: StoredRun,
    candidate: StoredRun,
    rules: Rules,
    *,
    command: str,
) -> ComparisonRecord:
    """Compare a stored run with another of the same class of machines.

    Times are compared as multiples of the same block's floor where both runs have one in every block.
    Margins give way to the least that can be told here, which holds what the same code differs by from run
    to run. Where that is not calibrated, a further margin is allowed for it; what lies within that is
    ``contaminated``.

    Raises:
        NoBaseline: The machines are of different classes.
    """
    check_machine(base, candidate)
    before, after = stored(base.observations), stored(candidate.observations)
    sticks = yardsticks(before, after)
    samples, blocks = unpaired(before, after, sticks)
    told = rules.told if sticks is not None else {}
    judged = {
        key: sides.at(told.get(key))._replace(further=float(key not in told))
        for key, sides in samples.items()
    }
    warnings = [f"{run.name}: {warning}" for run in (base, candidate) for warning in run.record.warnings]
    if sticks is None:
        warnings.append("times are compared as they are: neither run has a floor")
    if len(after.steps) < FEWEST:
        warnings.append(
            f"{candidate.name} has {len(after.steps)} blocks: with fewer than {FEWEST} hardly any change "
            "can be confirmed"
        )
    warnings += _circumstances(base, candidate)
    made = Compared(
        kind=kind,
        base=base.name,
        candidate=candidate.name,
        paired=False,
        environment=candidate.record.environment,
        changes=halved(judged, blocks, after.steps, rules.margins),
        failed=after.failed,
        left_out=left_out(before, after, sticks),
        warnings=[*warnings, *powerless(judged), *short(rules.rates, len(after.steps))],
    )
    return concluded(made, rules, command)


def _circumstances(base: StoredRun, candidate: StoredRun) -> Iterator[str]:
    """Return what was otherwise when the base was measured, and is no part of the class of machines."""
    there, here = base.record.environment, candidate.record.environment
    for name in ("kernel", "governor", "packages"):
        if there.get(name) != here.get(name):
            yield f"{name} differs: {base.name} had {there.get(name)}, {candidate.name} {here.get(name)}"
    days = abs((_when(candidate) - _when(base)).days)
    if days >= APART_DAYS:
        yield (
            f"the runs lie {days} days apart, and what the same code differs by was told within an hour: "
            "measure both by `fedbench ab`"
        )


def _when(run: StoredRun) -> datetime:
    """Return when a run began; results of pytest-benchmark do not say."""
    try:
        return datetime.strptime(run.record.started_utc, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return datetime.min
