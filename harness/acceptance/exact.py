"""Criteria that every block must meet: counts and answers, which no noise changes. Pure.

A disturbed machine must give right answers too, so that disturbed observations count here. One block that
violates a criterion raises a suspicion; a second one confirms it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.acceptance.estimate import Undecidable, holds, target
from harness.acceptance.ruling import Ruling
from harness.records.format import counted, quantity
from harness.records.metrics import METRICS
from harness.records.summary import why_missing
from harness.stats.paired import Estimate

if TYPE_CHECKING:
    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples
    from harness.records.schema import Observation

CONFIRMED_BY = 2
"""Blocks that have to violate a criterion before it fails."""


def rule_exact(c: Criterion, samples: Samples) -> Ruling:
    """Decide a criterion of an exact kind.

    Raises:
        Undecidable: The cells ran, and what is asked for is in none of them.
    """
    return _equal(c, samples) if c.kind == "equal" else _every(c, samples)


def _every(c: Criterion, samples: Samples) -> Ruling:
    values = samples.values(c.arm, c.workload, c.metric, exact=True)
    if missing := why_missing(c.metric, [o for o in samples.cell(c.arm, c.workload) if o.status == "ok"]):
        raise Undecidable(f"{c.metric}: {missing}")
    if not values:
        return Ruling(None, f"{c.arm} {c.workload} has not been measured", needs=1)
    ordered = sorted(values.values())
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    found = Estimate(middle, ordered[0], ordered[-1], len(ordered), 1.0)
    bad = [block for block in sorted(values) if not holds(c, values[block])]
    unit, blocks = METRICS[c.metric].unit, counted(len(ordered), "block")
    wanted = f"{'at least' if c.kind == 'at_least' else 'at most'} {quantity(target(c), unit)}"
    if not bad:
        worst = quantity(ordered[0] if c.kind == "at_least" else ordered[-1], unit)
        return Ruling("pass", f"{worst} in the worst of {blocks}; {wanted} is needed", found)
    shown = ", ".join(f"{quantity(values[block], unit)} in block {block}" for block in bad[:3])
    reason = f"{shown}; {wanted} is needed in every block"
    if len(bad) < CONFIRMED_BY:
        return Ruling(None, f"{reason}; a second block has to confirm it", found, needs=1)
    return Ruling("fail", f"{reason}; {len(bad)} of {blocks} violate it", found)


def _equal(c: Criterion, samples: Samples) -> Ruling:
    arms = samples.arms(c.workload)
    found = [o for arm in arms for o in samples.cell(arm, c.workload) if o.status == "ok"]
    if len(arms) < 2:
        raise Undecidable(f"fewer than two arms ran {c.workload}")
    if not found:
        return Ruling(None, f"{c.workload} has not been measured", needs=1)
    answers = Counter(o.texts.get(c.metric) for o in found)
    if None in answers:
        raise Undecidable(f"{answers[None]} of {len(found)} observations lack {c.metric}")
    blocks, distinct = {o.block for o in found}, len(answers)
    value = Estimate(distinct, distinct, distinct, len(blocks), 1.0)
    if distinct == 1:
        return Ruling("pass", f"all {len(found)} observations agree", value)
    usual, _ = answers.most_common(1)[0]
    others = [o for o in found if o.texts[c.metric] != usual]
    reason = (
        f"{distinct} different answers in {len(found)} observations: {_named(others)} differ from the others"
    )
    if len({o.block for o in others}) < CONFIRMED_BY and len(blocks) < CONFIRMED_BY:
        return Ruling(None, f"{reason}; a second block has to confirm it", value, needs=1)
    return Ruling("fail", reason, value)


def _named(others: list[Observation]) -> str:
    names = [f"{o.arm} in block {o.block}" for o in others]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
