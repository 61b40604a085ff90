"""Whether a broken run can be continued, and with what. Pure.

A run is one suite of one checkout on one class of machines. What was measured with something else is another
run, so there is no way to force it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import msgspec

from fedbench.errors import Problem
from harness.records.agreement import contradictions
from harness.records.environment import machine_class
from harness.records.metrics import METRICS
from harness.run.plan import plan
from harness.run.sittings import sittings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.records.schema import Observation, RunRecord
    from harness.run.asked import Asked
    from harness.run.plan import ArmRun
    from harness.suite import Suite

Spot = tuple[int, str, str]
"""Block, arm and workload of an observation."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a run already has when a sitting begins; a new run has nothing.

    Attributes:
        observations: What was measured.
        duration_s: Seconds spent on it.
        resumed_utc: When it was continued, each time, this one included.
        profiled: Whether a profiler has looked into its workers.
    """

    observations: tuple[Observation, ...] = ()
    duration_s: float = 0.0
    resumed_utc: tuple[str, ...] = ()
    profiled: bool = False


def spots(arm_run: ArmRun) -> set[Spot]:
    """Return what one worker measures."""
    return {(arm_run.block, arm_run.arm.name, w.name) for w in arm_run.workloads}


def spot(observation: Observation) -> Spot:
    """Return where an observation belongs."""
    return (observation.block, observation.arm, observation.workload)


def unfinished(runs: Iterable[ArmRun], observations: Iterable[Observation]) -> list[ArmRun]:
    """Return the workers to run, in order: all that lack an observation, each as a whole.

    What a worker measures comes from one process tree; to add to what another has begun would mix two.
    """
    measured = {spot(o) for o in observations}
    return [run for run in runs if not spots(run) <= measured]


def obstacles(
    asked: Asked,
    digest: str,
    record: RunRecord,
    observations: Sequence[Observation],
    environment: Mapping[str, Any],
) -> list[Problem]:
    """Return why a run cannot be continued, nothing if it can.

    Args:
        asked: What it was asked for.
        digest: Of the file that says so.
        record: What it has become.
        observations: What it has measured.
        environment: Machine and checkout as they are now.
    """
    runs = plan(asked.suite, asked.seed)
    if record.ended == "complete" and not unfinished(runs, observations):
        return [Problem("", "is complete: there is nothing to resume")]
    return [
        Problem("", line)
        for line in (
            *_edited(record),
            *_elsewhere(record, environment),
            *_changed(asked, digest, record, observations),
        )
    ]


def difference(suite: Suite, other: Suite) -> str:
    """Return the first thing in which two suites differ, timeouts and budgets aside; empty if in none."""
    ours, theirs = suite.limit(None), other.limit(None)
    for group in ("workloads", "arms"):
        mine, yours = getattr(ours, group), getattr(theirs, group)
        for name in (*mine, *yours):
            if mine.get(name) != yours.get(name):
                return f"{group[:-1]} {name}"
    for field in fields(ours):
        if field.name not in ("budget_s", "time_s") and getattr(ours, field.name) != getattr(
            theirs, field.name
        ):
            return field.name
    return ""


def _edited(record: RunRecord) -> list[str]:
    try:
        sittings_of(record.environment)
    except msgspec.ValidationError as error:
        return [f"run.json was edited: of the machine's pressure around the run, {error}: bring it back"]
    return []


def _elsewhere(record: RunRecord, now: Mapping[str, Any]) -> list[str]:
    then = record.environment
    lines = []
    if machine_class(then) != machine_class(now):
        lines.append(f"was measured on {machine_class(then)}; this is {machine_class(now)}: resume it there")
    if then.get("commit") != now.get("commit"):
        lines.append(
            f"measured the commit {_commit(then)}; this is {_commit(now)}: check that one out to resume it"
        )
    elif bool(then.get("dirty")) != bool(now.get("dirty")):
        had, has = ("had", "has none now") if then.get("dirty") else ("had no", "has some now")
        lines.append(f"the checkout {had} uncommitted changes and {has}: bring it back to what was measured")
    if then.get("packages") != now.get("packages"):
        lines.append("was measured with other versions of its packages: install those to resume it")
    return lines


def _commit(environment: Mapping[str, Any]) -> str:
    return str(environment.get("commit") or "unknown")[:7]


def _changed(asked: Asked, digest: str, record: RunRecord, observations: Sequence[Observation]) -> list[str]:
    suite = asked.suite
    if record.asked_sha256 and record.asked_sha256 != digest:
        return ["suite.json was changed since the run began: bring it back, or start a new run"]
    if told := contradictions(record, observations):
        return [
            f"observations.jsonl {told[0]}: one of the two was cut or edited, bring back what the run wrote"
        ]
    possible = suite.blocks <= record.blocks_planned <= suite.most_blocks
    if not possible or (suite.name, asked.seed) != (record.suite, record.seed):
        return ["suite.json and run.json tell of different suites, seeds or blocks: one was changed"]
    unknown = sorted({name for o in observations for name in o.metrics} - METRICS.keys())
    if unknown:
        return [f"observations.jsonl has {unknown[0]!r}, which is no metric: it was edited"]
    params = {
        (arm.name, name): {**suite.workloads[name].params, **arm.settings}
        for arm in suite.arms.values()
        for name in arm.workloads
    }
    for o in observations:
        if not 1 <= o.block <= suite.most_blocks or params.get((o.arm, o.workload)) != o.params:
            return [f"suite.json has no {o.arm} {o.workload} as measured in block {o.block}: it was changed"]
    return []
