"""From criteria to the verdict of a run and its exit code. Pure."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from harness.records.summary import is_quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import CriterionRecord, Observation


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    STACK_FAILED = 3
    INCONCLUSIVE = 4
    NOTHING_RAN = 5
    BUDGET = 6
    INTERRUPTED = 130


class RunOutcome(NamedTuple):
    """How a run ended.

    Attributes:
        verdict: One word.
        reason: Why, in one sentence.
        exit_code: What the command line exits with.
    """

    verdict: str
    reason: str
    exit_code: ExitCode


def conclude(
    criteria: Sequence[CriterionRecord], observations: Sequence[Observation], ended: str, *, dropped: int = 0
) -> RunOutcome:
    """Return the verdict of a run.

    Args:
        criteria: As decided.
        observations: Everything that was measured, or tried.
        ended: How the run ended: ``complete``, ``interrupted`` or ``budget``.
        dropped: Criteria that a filter left without their cells.

    A cell that ran into its timeout while others disturbed it, in both attempts, is no failure of the stack.

    Returns:
        Where several exit codes apply, the first of 130, 3, 5, 6, 1, 4.
    """
    if ended == "interrupted":
        return RunOutcome(
            "interrupted",
            f"interrupted after {len(observations)} cells, which are kept",
            ExitCode.INTERRUPTED,
        )
    bad = [o for o in observations if o.status == "failed" or (o.status == "timeout" and is_quiet(o))]
    if bad:
        first = bad[0]
        return RunOutcome(
            "failed",
            f"{len(bad)} cells failed, first {first.arm} {first.workload} in block {first.block}: "
            f"{'; '.join(first.reasons)}",
            ExitCode.STACK_FAILED,
        )
    if not any(o.status == "ok" or not is_quiet(o) for o in observations):
        unsupported = f": {len(observations)} were unsupported" if observations else ""
        return RunOutcome("nothing ran", f"no cell was measured{unsupported}", ExitCode.NOTHING_RAN)
    if ended == "budget":
        return RunOutcome(
            "budget exhausted", f"{len(observations)} cells were measured and kept", ExitCode.BUDGET
        )
    counts = Counter(criterion.verdict for criterion in criteria)
    parts = [f"{count} {verdict}" for verdict, count in sorted(counts.items())]
    if dropped:
        parts.append(f"{dropped} dropped by the filter")
    summary = ", ".join(parts) or "the suite has no criteria"
    if counts["fail"]:
        first_failed = next(c for c in criteria if c.verdict == "fail")
        return RunOutcome("fail", f"{summary}; first failed: {first_failed.id}", ExitCode.FAILED)
    if counts["inconclusive"] or counts["contaminated"] or (dropped and not criteria):
        return RunOutcome("inconclusive", summary, ExitCode.INCONCLUSIVE)
    return RunOutcome("pass" if criteria else "measured", summary, ExitCode.OK)
