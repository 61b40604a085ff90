"""Made-up runs of a small suite, written as a real run writes them. The same on every machine."""

from __future__ import annotations

import math
import random
from typing import Any

from harness.records.schema import Observation, RunRecord
from harness.records.store import Store
from harness.records.summary import summarise

ENVIRONMENT = {
    "cpu_model": "Imagined CPU @ 2.00GHz",
    "cores_usable": 2,
    "architecture": "x86_64",
    "python": "3.11.7",
    "commit": "c" * 40,
    "dirty": False,
}

CELLS: dict[tuple[str, str], dict[str, float]] = {
    ("push", "rpc"): {"latency_hops": 4.0, "cpu_s_per_op": 100e-6, "log_records_per_op": 0.0},
    ("push", "round"): {"round_s": 0.002, "cpu_s_per_op": 0.001, "wakeups_per_op": 12.0},
    ("push_process", "memory"): {"memory_peak_bytes": 300e6, "log_records_per_op": 2.0},
}
_SPREAD = {"wakeups_per_op": 0.01, "memory_peak_bytes": 0.002, "log_records_per_op": 0.0}


def observations(
    blocks: int,
    *,
    seed: int = 0,
    speed: float = 1.0,
    factors: dict[tuple[str, str, str], float] | None = None,
    floors: bool = True,
    spread: float = 0.02,
) -> list[Observation]:
    """Return the observations of a run.

    Args:
        blocks: How many blocks.
        seed: Of the noise.
        speed: Of the machine: times are divided by it, those of the floors as well.
        factors: What a metric is multiplied by, by arm, workload and metric.
        floors: Whether every block has a floor.
        spread: Standard deviation of a time's logarithm.
    """
    rng, made = random.Random(seed), []
    for block in range(1, blocks + 1):
        for (arm, workload), metrics in CELLS.items():
            values: dict[str, float | None] = {}
            for name, value in metrics.items():
                noise = rng.gauss(0, _SPREAD.get(name, spread))
                slow = 1 / speed if name.endswith(("_s", "_s_per_op")) else 1.0
                factor = (factors or {}).get((arm, workload, name), 1.0)
                values[name] = value * slow * factor * math.exp(noise)
            made.append(_observation(block, arm, "push", workload, values))
        if floors:
            floor_s = 5e-6 / speed * math.exp(rng.gauss(0, spread / 2))
            made.append(_observation(block, "floors", "floors", "bare", {"latency_p50_s": floor_s}))
    return made


def record(made: list[Observation], **changes: Any) -> RunRecord:
    """Return the record of a run that made these observations."""
    blocks = max((o.block for o in made), default=0)
    known: dict[str, Any] = {
        "run_id": "a run",
        "suite": "small",
        "title": "A small suite",
        "command": "fedbench run small",
        "seed": 0,
        "blocks_planned": blocks,
        "blocks_done": blocks,
        "started_utc": "2026-01-02T03:04:05Z",
        "duration_s": 1.0,
        "environment": ENVIRONMENT,
        "order": [list(dict.fromkeys(o.arm for o in made if o.block == n)) for n in range(1, blocks + 1)],
        "cells": summarise(made),
        "criteria": [],
        "controls": [],
        "warnings": [],
        "not_measured": [],
        "ended": "complete",
        "verdict": "measured",
        "reason": "",
        "exit_code": 0,
    }
    return RunRecord(**{**known, **changes})


def write(folder: Any, made: list[Observation], **changes: Any) -> Any:
    """Write a run into a folder; return that."""
    store = Store(folder)
    for observation in made:
        store.append(observation)
    store.write_run(record(made, **{"run_id": folder.name, **changes}))
    return folder


def _observation(
    block: int, arm: str, stack: str, workload: str, metrics: dict[str, float | None]
) -> Observation:
    return Observation(
        block=block,
        order=1,
        arm=arm,
        stack=stack,
        loop="uvloop",
        mode="process" if arm.endswith("process") else "memory",
        workload=workload,
        kind=workload,
        params={"clients": 10},
        status="ok",
        metrics=metrics,
    )
