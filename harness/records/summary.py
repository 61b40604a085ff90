"""From observations to cells: one estimate with bounds for each metric. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.metrics import METRICS
from harness.records.schema import CellRecord, MetricSummary, Observation, Status
from harness.stats.paired import signed_rank_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORST: tuple[Status, ...] = ("failed", "timeout", "unsupported", "ok")


def summarise(observations: Iterable[Observation]) -> list[CellRecord]:
    """Return one record for each arm and workload, in order of first appearance."""
    cells: dict[tuple[str, str], list[Observation]] = {}
    for observation in observations:
        cells.setdefault((observation.arm, observation.workload), []).append(observation)
    return [_cell(sorted(group, key=lambda o: o.block)) for group in cells.values()]


def is_quiet(observation: Observation) -> bool:
    """Return whether nobody disturbed a cell, as far as the machine tells."""
    return observation.disturbance is None or not observation.disturbance.void


def why_missing(name: str, group: Sequence[Observation]) -> str:
    """Return why some blocks of a cell have no value of a metric, and how many; empty where all have one."""
    bare = [o for o in group if is_quiet(o) and o.metrics.get(name) is None]
    reasons = dict.fromkeys(o.missing.get(name, METRICS[name].missing) for o in bare)
    return f"{'; '.join(reasons)} in {len(bare)} of {len(group)} blocks" if bare else ""


def _cell(group: Sequence[Observation]) -> CellRecord:
    first = group[0]
    names = list(dict.fromkeys(name for observation in group for name in observation.metrics))
    texts: dict[str, list[str]] = {}
    for observation in group:
        for name, text in observation.texts.items():
            if text not in texts.setdefault(name, []):
                texts[name].append(text)
    return CellRecord(
        arm=first.arm,
        stack=first.stack,
        loop=first.loop,
        mode=first.mode,
        workload=first.workload,
        params=first.params,
        status=next(status for status in _WORST if any(o.status == status for o in group)),
        metrics={name: _metric(name, group) for name in names},
        texts=texts,
        reasons=list(dict.fromkeys(reason for o in group for reason in o.reasons)),
    )


def _metric(name: str, group: Sequence[Observation]) -> MetricSummary:
    metric = METRICS[name]
    values = [value for o in group if is_quiet(o) and (value := o.metrics.get(name)) is not None]
    reason = why_missing(name, group)
    if not values:
        disturbed = sum(not is_quiet(o) for o in group)
        told = f"others disturbed {disturbed} of {len(group)} blocks" if disturbed else ""
        reason = "; ".join(filter(None, (reason, told)))
        return MetricSummary(
            unit=metric.unit,
            direction=metric.direction,
            value=None,
            ci_low=None,
            ci_high=None,
            n=0,
            reason=reason,
        )
    estimate = signed_rank_interval(values)
    return MetricSummary(
        unit=metric.unit,
        direction=metric.direction,
        value=estimate.value,
        ci_low=estimate.low if math.isfinite(estimate.low) else None,
        ci_high=estimate.high if math.isfinite(estimate.high) else None,
        n=estimate.n,
        reason=reason,
    )
