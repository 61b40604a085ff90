"""What follows from a comparison: its verdict, why, and what the command line exits with."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.acceptance.outcome import ExitCode
from harness.records.schema import Change, ComparisonRecord
from harness.regression.alike import alike
from harness.regression.changes import CONFIRM, too_few
from harness.regression.power import blind, power_text, undecided

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import Rates
    from harness.regression.margins import Margin
    from harness.regression.matching import LeftOut
    from harness.regression.stored import Cell
    from harness.regression.verdict import Detectable, Key, Sides

FailOn = Literal["regressed", "inconclusive"]


MOST_OF_A_REASON = 200
"""Characters of a cell's failure that the reason of a comparison quotes."""


class Rules(NamedTuple):
    """How to judge.

    Attributes:
        margins: What matters, by metric.
        rates: How often the comparison errs on this class of machines, None if it was not calibrated.
        detectable: What can be detected here, by metric of a cell; empty if it was not calibrated.
        fail_on: ``regressed`` lets what is inconclusive pass, but nothing that the candidate lacks.
        warnings: What to know about these.
    """

    margins: Mapping[str, Margin]
    rates: Rates | None = None
    detectable: Mapping[Key, Detectable] = MappingProxyType({})
    fail_on: FailOn = "inconclusive"
    warnings: Sequence[str] = ()


class Compared(NamedTuple):
    """A comparison before it is concluded.

    Attributes:
        kind: Which command made it.
        base: Name of the base.
        candidate: Name of the candidate.
        paired: Whether both sides were measured in the same blocks.
        environment: Where the candidate was measured.
        changes: Every metric that both sides have.
        failed: Cells of the candidate that did not end well.
        left_out: What was not compared: what the candidate lacks cannot be told to be as it was.
        warnings: What to know about it.
    """

    kind: Literal["compare", "check", "ab"]
    base: str
    candidate: str
    paired: bool
    environment: Mapping[str, Any]
    changes: Sequence[Change]
    failed: Mapping[Cell, str]
    left_out: LeftOut
    warnings: Sequence[str]


def concluded(made: Compared, rules: Rules, command: str) -> ComparisonRecord:
    """Return the record of a comparison.

    Args:
        made: What was compared.
        rules: How it was judged.
        command: How it was asked for.
    """
    verdict, reason, exit_code = conclude(made, rules.fail_on)
    return ComparisonRecord(
        kind=made.kind,
        base=made.base,
        candidate=made.candidate,
        command=command,
        created_utc=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        paired=made.paired,
        environment=dict(made.environment),
        changes=[*made.changes],
        not_compared=[*made.left_out.lacking, *made.left_out.new],
        warnings=[*made.warnings, *rules.warnings],
        rates=rules.rates,
        verdict=verdict,
        reason=reason,
        exit_code=int(exit_code),
        undecided=len(undecided(made.changes)),
        power=power_text(made.changes),
        alike=alike(made.changes),
    )


def conclude(made: Compared, fail_on: FailOn) -> tuple[str, str, ExitCode]:
    """Return the verdict of a comparison, why, and what the command line exits with.

    What is undecided does not fail a comparison by itself: no run decides every metric on every machine. It
    does where a steady metric could have become twice as bad without being found (:mod:`.power`), and where
    the candidate lacks something that the base has.
    """
    counts = Counter(change.verdict for change in made.changes)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    if made.failed:
        first = min(made.failed)
        reason = f"{len(made.failed)} cells of the candidate failed, first {' '.join(first)}: "
        reason += _short(made.failed[first])
        return "failed", reason, ExitCode.STACK_FAILED
    if not made.changes:
        return "nothing compared", "both sides have no cell and metric in common", ExitCode.NOTHING_RAN
    said = "; ".join(filter(None, (power_text(made.changes), alike(made.changes))))
    worst = max((c for c in made.changes if c.verdict == "regressed"), key=_severity, default=None)
    if worst is not None:
        named = f"{summary}; worst: {worst.metric} of {worst.arm} {worst.workload}"
        return "regressed", "; ".join(filter(None, (named, said))), ExitCode.FAILED
    summary = "; ".join(filter(None, (summary, said)))
    lacking = made.left_out.lacking
    if lacking:
        summary += f"; not compared: {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
    if lacking:
        return "inconclusive", summary, ExitCode.INCONCLUSIVE
    weak = blind(made.changes)
    if weak:
        one = f"{weak[0].metric} of {weak[0].arm} {weak[0].workload}"
        summary += f"; {len(weak)} that decide could have doubled unseen, first {one}: run more blocks"
        code = ExitCode.OK if fail_on == "regressed" else ExitCode.INCONCLUSIVE
        return "inconclusive", summary, code
    return ("improved" if counts["improved"] else "unchanged"), summary, ExitCode.OK


def powerless(samples: Mapping[Key, Sides], *, paired: bool = False) -> list[str]:
    """Return a warning where there are too few samples to tell any change, however large, for certain.

    Args:
        samples: As they are compared.
        paired: Whether a fresh batch confirms what they make suspect: its level is the one to reach.
    """
    untold = too_few(samples, alpha=CONFIRM, together=False) if paired else too_few(samples)
    if not untold:
        return []
    return [
        f"{len(untold)} of {len(samples)} metrics have too few samples to tell a change for certain, "
        f"first {' '.join(untold[0])}: run more blocks"
    ]


def unconfirmable(keys: Sequence[Key], blocks: int) -> list[str]:
    """Return a warning where a fresh batch had too few blocks to confirm so many, however clear they are."""
    if not keys:
        return []
    return [f"{len(keys)} suspicions are more than {blocks} blocks can confirm: run more blocks"]


def short(rates: Rates | None, blocks: int) -> list[str]:
    """Return a warning where a batch has fewer blocks than what the error rates are of."""
    if rates is None or blocks >= rates.blocks:
        return []
    return [f"the error rates are those of batches of {rates.blocks} blocks: {blocks} tell less"]


def _short(text: str) -> str:
    """Return the beginning of a reason; the whole of it stands in what was not compared."""
    return text if len(text) <= MOST_OF_A_REASON else f"{text[:MOST_OF_A_REASON]}…"


def _severity(change: Change) -> float:
    """Return how many margins a change is."""
    if change.ratio is None:
        return abs(change.candidate - change.base) / change.margin
    return abs(math.log(change.ratio)) / math.log1p(change.margin)
