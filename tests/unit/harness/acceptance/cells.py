"""Cells of a run, and criteria decided on them."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.acceptance.criteria import Criterion
from harness.acceptance.decide import decide
from harness.acceptance.samples import Samples
from harness.records.schema import Control, CriterionRecord, Observation


def cell(
    arm: str,
    values: Sequence[float | None],
    workload: str = "idle",
    metric: str = "cpu_cores",
    **changes: Any,
) -> list[Observation]:
    """Return one observation a block."""
    known: dict[str, Any] = {
        "order": 1,
        "arm": arm,
        "stack": arm,
        "loop": "asyncio",
        "mode": "memory",
        "workload": workload,
        "kind": workload,
        "params": {},
        "status": "ok",
    }
    return [
        Observation(**{**known, "block": block, "metrics": {metric: value}, **changes})
        for block, value in enumerate(values, 1)
    ]


def criterion(kind: str, target: float = 0.0, **changes: str) -> Criterion:
    known = {"arm": "push", "against": "polling" if kind in ("reduction", "ratio", "frontier") else ""}
    return Criterion("id", "title", kind, "idle", "cpu_cores", target=target, **{**known, **changes})


def controls(
    spread: float | None, workload: str = "idle", metric: str = "cpu_cores", difference: float = 0.0
) -> dict[Any, Control]:
    known = Control(arm="push", workload=workload, metric=metric, spread=spread, difference=difference, n=5)
    return {("push", workload, metric): known}


def judged(
    what: Criterion, *cells: list[Observation], known: Mapping[tuple[str, str, str], Control] | None = None
) -> CriterionRecord:
    return decide(what, Samples([o for group in cells for o in group]), known or {}, mode="memory")
