"""Cells of a run, and criteria decided on them."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.acceptance.criteria import Criterion
from harness.acceptance.decide import Decision, Sizes, decide
from harness.acceptance.samples import Samples
from harness.records.schema import Control, CriterionRecord, Disturbance, Observation

BUSY = Disturbance(others_cores=0.9, culprits=["make (42) 0.90 cores"], void=["others used 0.90 cores"])
"""What others did in a cell that is void."""


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


def criterion(kind: str, target: float = 0.0, **changes: Any) -> Criterion:
    known: dict[str, Any] = {
        "metric": "cpu_cores",
        "arm": "push",
        "against": "polling" if kind in ("reduction", "ratio", "frontier") else "",
    }
    return Criterion("id", "title", kind, "idle", target=target, **{**known, **changes})


def controls(
    centre: float | None, workload: str = "idle", metric: str = "cpu_cores", shift: float = 0.0
) -> dict[Any, Control]:
    known = Control(
        arm="push", workload=workload, metric=metric, spread=centre, difference=abs(shift), n=6,
        centre=centre, shift=shift,
    )  # fmt: skip
    return {("push", workload, metric): known}


def decided(
    what: Criterion,
    *cells: list[Observation],
    known: Mapping[tuple[str, str, str], Control] | None = None,
    looks: Sequence[int] = (6,),
    over: bool = True,
    why: str = "",
) -> Decision:
    samples = Samples([o for group in cells for o in group])
    controlled = known or {}
    sizes = Sizes(tuple(looks), over, why)
    return decide(what, samples, lambda key, _: controlled.get(key), mode="memory", sizes=sizes)


def judged(what: Criterion, *cells: list[Observation], **more: Any) -> CriterionRecord:
    return decided(what, *cells, **more).record
