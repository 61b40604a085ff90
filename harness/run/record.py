"""The record of a run, made from what was asked for and what was measured. Pure but for the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.acceptance.control import control
from harness.acceptance.criteria import EXACT
from harness.acceptance.decide import decide
from harness.acceptance.outcome import conclude
from harness.acceptance.samples import Samples
from harness.records.attempts import counted, is_void
from harness.records.schema import Control, RunRecord
from harness.records.summary import summarise
from harness.run.progression import rules_of
from harness.run.stability import warnings_of
from harness.suite import modes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from harness.records.attempts import Spot
    from harness.records.schema import Observation
    from harness.suite import Suite

Ended = Literal["complete", "interrupted", "budget"]


def record_of(
    suite: Suite,
    planned: AbstractSet[Spot],
    observations: Sequence[Observation],
    ended: Ended,
    environment: dict[str, Any],
) -> RunRecord:
    """Return the record of a run; what only the runner knows (id, command, times) is left empty.

    Args:
        suite: What was asked for.
        planned: Every cell of every block that was to be run so far.
        observations: Everything that was measured, void attempts included.
        ended: How the run ended.
        environment: Machine, checkout and pressure.
    """
    samples, final = Samples(observations), counted(observations)
    rules = rules_of(suite)
    criteria = [decide(c, samples, rules, mode=modes_of(c, suite.arms)) for c in suite.criteria]
    outcome = conclude(criteria, final, ended, dropped=len(suite.dropped))
    order: dict[int, list[str]] = {}
    for o in observations:
        names = order.setdefault(o.block, [])
        name = o.arm if suite.tree == "arm" else f"{o.arm}/{o.workload}"
        if name not in names:
            names.append(name)
    missing = {block for block, _, _ in planned - {(o.block, o.arm, o.workload) for o in final}}
    return RunRecord(
        run_id="",
        suite=suite.name,
        title=suite.title,
        command="",
        seed=0,
        blocks_planned=max([suite.stages[0], *order]),
        blocks_done=len(order.keys() - missing),
        started_utc="",
        duration_s=0.0,
        environment=environment,
        order=[order[block] for block in sorted(order)],
        cells=summarise(final),
        criteria=criteria,
        controls=_controls(suite, samples),
        warnings=[*_void(observations), *warnings_of(environment, final)],
        not_measured=_not_measured(suite, planned, final),
        ended=ended,
        verdict=outcome.verdict,
        reason=outcome.reason,
        exit_code=int(outcome.exit_code),
        control_arms=[name for name, arm in suite.arms.items() if arm.control_of],
    )


def _controls(suite: Suite, samples: Samples) -> list[Control]:
    gated = [c for c in suite.criteria if c.kind not in EXACT]
    metrics = {(c.workload, c.metric) for c in gated} | {(c.workload2, c.metric2) for c in gated if c.metric2}
    return [
        control(samples, (arm, again), workload, metric)
        for (arm, workload), again in suite.again.items()
        for name, metric in sorted(metrics)
        if name == workload
    ]


def _void(observations: Sequence[Observation]) -> list[str]:
    """Return how many cells others disturbed, and by what the last of them; nothing for none."""
    void = [o for o in observations if is_void(o)]
    if not void:
        return []
    why = void[-1].disturbance.void[0] if void[-1].disturbance else ""
    return [f"{len(void)} of {len(observations)} cells were void because others disturbed them: {why}"]


def _not_measured(suite: Suite, planned: AbstractSet[Spot], observations: Sequence[Observation]) -> list[str]:
    lines = [f"criterion {name}: its cells were filtered out" for name in suite.dropped]
    missing = len(planned - {(o.block, o.arm, o.workload) for o in observations})
    if missing:
        lines.append(f"{missing} of {len(planned)} planned observations were not made")
    lines += sorted(
        {
            f"{o.arm} {o.workload}: {o.status}: {'; '.join(o.reasons)}"
            for o in observations
            if o.status != "ok"
        }
    )
    return lines
