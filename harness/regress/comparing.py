"""Compare two stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.gate.confirm import halved
from harness.gate.matching import left_out, unpaired, yardsticks
from harness.gate.stored import stored
from harness.regress.baselines import check_machine
from harness.regress.concluding import Compared, concluded, powerless

if TYPE_CHECKING:
    from harness.records.schema import ComparisonRecord
    from harness.regress.concluding import Rules
    from harness.regress.runs import StoredRun

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
    least = rules.least
    judged = {
        key: sides._replace(least=least.get(key, 0.0), further=float(key not in least))
        for key, sides in samples.items()
    }
    warnings = [f"{run.name}: {warning}" for run in (base, candidate) for warning in run.record.warnings]
    if sticks is None:
        warnings.append("times are compared as they are: not every block of both runs has a floor")
    if len(after.steps) < FEWEST:
        warnings.append(
            f"{candidate.name} has {len(after.steps)} blocks: with fewer than {FEWEST} hardly any change "
            "can be confirmed"
        )
    made = Compared(
        kind=kind,
        base=base.name,
        candidate=candidate.name,
        paired=False,
        environment=candidate.record.environment,
        changes=halved(judged, blocks, after.steps, rules.margins),
        failed=after.failed,
        left_out=left_out(before, after),
        warnings=[*warnings, *powerless(judged)],
    )
    return concluded(made, rules, command)
