"""Compare two stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.regression.baselines import check_machine
from harness.regression.conclusion import Compared, concluded, powerless, short
from harness.regression.confirm import halved
from harness.regression.margins import drift
from harness.regression.matching import left_out, unpaired, yardsticks
from harness.regression.states import differences, refuse
from harness.regression.stored import stored

if TYPE_CHECKING:
    from harness.records.schema import ComparisonRecord
    from harness.regression.conclusion import Rules
    from harness.regression.runs import StoredRun

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

    Times are compared as multiples of the same block's floor where both runs have one in every block. What
    runs of one version differ by because they were made apart is allowed for
    (:func:`harness.regression.margins.drift`); what lies within that is ``contaminated``.

    Raises:
        NoBaseline: The machines are of different classes, or ``check`` finds that they were in different
            states; the reason says which, and what to do instead.
    """
    check_machine(base, candidate)
    before, after = stored(base.observations), stored(candidate.observations)
    sticks = yardsticks(before, after)
    if kind == "check":
        refuse(base, candidate, before, after)
    samples, blocks = unpaired(before, after, sticks)
    judged = {
        key: sides.at(rules.detectable.get(key) if sticks is not None else None)._replace(
            paired=False, drift=drift(key.metric)
        )
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
    warnings += differences(base, candidate, before, after)
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
