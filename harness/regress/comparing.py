"""Compare two stored runs, and conclude."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.gate.compare import halved
from harness.gate.outcome import ExitCode
from harness.gate.stored import ONLY_CANDIDATE, stored, unpaired
from harness.records.schema import Change, ComparisonRecord
from harness.regress.baselines import check_machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.gate.compare import Key
    from harness.gate.margins import Margin
    from harness.records.schema import Rates
    from harness.regress.runs import StoredRun

FailOn = Literal["regressed", "inconclusive"]

FEWEST = 8
"""Blocks of a candidate of which each half can confirm something."""


class Rules(NamedTuple):
    """How to judge.

    Attributes:
        margins: What matters, by metric.
        rates: How often the comparison errs on this class of machines, None if it was not calibrated.
        least: Least margins that can be told here, by metric of a cell; None if it was not calibrated.
        fail_on: Whether what is inconclusive is a failure, too.
    """

    margins: Mapping[str, Margin]
    rates: Rates | None
    least: Mapping[Key, float] | None
    fail_on: FailOn = "inconclusive"


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
    margins = rules.margins
    sides = [stored(run.observations) for run in (base, candidate)]
    floored = all(side.floor_s is not None for side in sides)
    if not floored:
        sides = [stored(run.observations, floored=False) for run in (base, candidate)]
    samples, left_out = unpaired(*sides)
    least = rules.least or {}
    drift = {key: math.log1p(margins[key.metric].share) for key in samples if key not in least}
    changes = halved(samples, margins, sides[1].steps, drift, least)
    warnings = [f"{run.name}: {warning}" for run in (base, candidate) for warning in run.record.warnings]
    if not floored:
        warnings.append("times are compared as they are: not every block of both runs has a floor")
    if len(sides[1].steps) < FEWEST:
        warnings.append(
            f"{candidate.name} has {len(sides[1].steps)} blocks: with fewer than {FEWEST} hardly any change "
            "can be confirmed"
        )
    verdict, reason, exit_code = conclude(
        changes, sorted(map(" ".join, sides[1].failed)), rules.fail_on, left_out
    )
    return ComparisonRecord(
        kind=kind,
        base=base.name,
        candidate=candidate.name,
        command=command,
        created_utc=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        paired=False,
        environment=candidate.record.environment,
        changes=changes,
        not_compared=left_out,
        warnings=warnings,
        rates=rules.rates,
        verdict=verdict,
        reason=reason,
        exit_code=int(exit_code),
    )


def conclude(
    changes: Sequence[Change], failed: Sequence[str], fail_on: FailOn, left_out: Sequence[str] = ()
) -> tuple[str, str, ExitCode]:
    """Return the verdict of a comparison, why, and what the command line exits with.

    Args:
        changes: As compared.
        failed: Cells of the candidate that did not end well.
        fail_on: ``regressed`` lets what is inconclusive pass.
        left_out: What was not compared: what the candidate lacks cannot be told to be as it was.
    """
    counts = Counter(change.verdict for change in changes)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    if failed:
        return (
            "failed",
            f"{len(failed)} cells of the candidate failed, first {failed[0]}",
            ExitCode.STACK_FAILED,
        )
    if not changes:
        return "nothing compared", "both sides have no cell and metric in common", ExitCode.NOTHING_RAN
    worst = max((c for c in changes if c.verdict == "regressed"), key=_severity, default=None)
    if worst is not None:
        told = f"{summary}; worst: {worst.metric} of {worst.arm} {worst.workload}"
        return "regressed", told, ExitCode.FAILED
    lacking = [line for line in left_out if not line.endswith(ONLY_CANDIDATE)]
    if lacking:
        summary += f"; not compared: {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
    if counts["inconclusive"] or counts["contaminated"] or lacking:
        code = ExitCode.OK if fail_on == "regressed" else ExitCode.INCONCLUSIVE
        return "inconclusive", summary, code
    return ("improved" if counts["improved"] else "unchanged"), summary, ExitCode.OK


def _severity(change: Change) -> float:
    """Return how many margins a change is."""
    if change.ratio is None:
        return abs(change.candidate - change.base) / change.margin
    return abs(math.log(change.ratio)) / math.log1p(change.margin)
