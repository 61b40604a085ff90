"""Kinds that every block must hold: counts, and answers that must be equal. Pure.

They count cells that others disturbed as well: load excuses slowness, never a wrong answer. One violation
decides nothing until a second, fresh block shows one too: then it is a fail.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from harness.acceptance.estimate import Undecidable
from harness.acceptance.sequence import CONFIRMING
from harness.records.summary import why_missing
from harness.stats.paired import Estimate

if TYPE_CHECKING:
    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples
    from harness.records.schema import Observation, Verdict


VIOLATIONS = 2
"""Blocks that have to violate a criterion before it fails."""


class Exact(NamedTuple):
    """What the blocks say.

    Attributes:
        verdict: So far.
        reason: Why.
        estimate: Median with smallest and largest value; for ``equal`` the number of different answers.
        more: Blocks that are still needed.
    """

    verdict: Verdict
    reason: str
    estimate: Estimate | None
    more: int


def decide_exact(c: Criterion, samples: Samples, needed: int) -> Exact:
    """Decide ``equal``, ``at_least`` or ``at_most``.

    Args:
        c: The criterion.
        samples: The run's observations.
        needed: Blocks that must hold it.

    Raises:
        Undecidable: More blocks would not tell either.
    """
    found, violating, told = _equal(c, samples) if c.kind == "equal" else _counted(c, samples)
    n = found.n if found else 0
    blocks = ", ".join(map(str, violating))
    if len(violating) >= VIOLATIONS:
        return Exact("fail", f"{told}: blocks {blocks}", found, 0)
    if violating:
        more = max(needed + CONFIRMING - n, 0)
        reason = f"{told}: block {blocks} alone; a fail needs a second block that shows it"
        return Exact("inconclusive", reason, found, more)
    if n < needed:
        reason = f"{n} of {needed} blocks were measured; all of them hold" if n else "no block was measured"
        return Exact("inconclusive", reason, found, needed - n)
    return Exact("pass", told, found, 0)


def _counted(c: Criterion, samples: Samples) -> tuple[Estimate | None, list[int], str]:
    cell = [o for o in samples.cell(c.arm, c.workload) if o.status == "ok"]
    values = {o.block: v for o in cell if (v := o.metrics.get(c.metric)) is not None}
    bad = sum(v < c.target if c.kind == "at_least" else v > c.target for v in values.values())
    if len(values) < len(cell) and bad < VIOLATIONS:
        raise Undecidable(f"{c.metric}: {why_missing(c.metric, cell) or 'not measured'}", len(values))
    ordered = sorted(values.values())
    if not ordered:
        return None, [], ""
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    found = Estimate(middle, ordered[0], ordered[-1], len(ordered), 1.0)
    least = c.kind == "at_least"
    violating = [b for b, v in sorted(values.items()) if (v < c.target if least else v > c.target)]
    worst = ordered[0] if least else ordered[-1]
    if violating:
        bound = "at least" if least else "at most"
        return found, violating, f"{worst:g} where {bound} {c.target:g} must be"
    return found, [], f"every one of {len(ordered)} blocks holds it, the worst with {worst:g}"


def _equal(c: Criterion, samples: Samples) -> tuple[Estimate | None, list[int], str]:
    arms = samples.arms(c.workload)
    found = [o for arm in arms for o in samples.cell(arm, c.workload) if o.status == "ok"]
    if not found:
        return None, [], ""
    texts = [o.texts.get(c.metric) for o in found]
    blocks = {o.block for o in found}
    if len(arms) < 2:
        raise Undecidable(f"fewer than two arms ran {c.workload}", len(blocks))
    if None in texts:
        raise Undecidable(f"{texts.count(None)} of {len(texts)} observations lack {c.metric}", len(blocks))
    counts = Counter(texts)
    estimate = Estimate(len(counts), len(counts), len(counts), len(blocks), 1.0)
    if len(counts) == 1:
        return estimate, [], f"all {len(found)} observations agree"
    usual = counts.most_common(1)[0][0]
    return estimate, _odd(c, found, usual), _different(c, found, usual, len(counts))


def _odd(c: Criterion, found: list[Observation], usual: str | None) -> list[int]:
    return sorted({o.block for o in found if o.texts.get(c.metric) != usual})


def _different(c: Criterion, found: list[Observation], usual: str | None, distinct: int) -> str:
    odd = [f"{o.arm} in block {o.block}" for o in found if o.texts.get(c.metric) != usual]
    named = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
    return f"{distinct} different answers in {len(found)} observations: {named} unlike the others"
