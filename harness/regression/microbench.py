"""Results of pytest-benchmark as a stored run: each file is a block, each benchmark a workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records import pytestbench
from harness.records.schema import Observation, RunRecord
from harness.records.summary import summarise
from harness.regression.runs import StoredRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

METRIC = "benchmark_s"
STACK = "pytest-benchmark"
ARM = "benchmarks"


def stored_benchmarks(paths: Sequence[Path]) -> StoredRun:
    """Return JSON files of pytest-benchmark, one a run of it, as what is compared.

    Raises:
        ConfigError: As for :func:`harness.records.pytestbench.load`.
    """
    samples = pytestbench.load(paths)
    made = [
        _observation(name, block, value)
        for name, values in samples.items()
        for block, value in values.items()
    ]
    count = len(paths)
    record = RunRecord(
        run_id=paths[0].name if count == 1 else f"{paths[0].name} and {count - 1} more",
        suite=STACK,
        title="Micro-benchmarks",
        command="",
        seed=0,
        blocks_planned=count,
        blocks_done=count,
        started_utc="",
        duration_s=0.0,
        environment=pytestbench.environment(paths[0]),
        order=[[ARM]] * count,
        cells=summarise(made),
        criteria=[],
        controls=[],
        warnings=[],
        not_measured=[],
        ended="complete",
        verdict="measured",
        reason="",
        exit_code=0,
    )
    return StoredRun(record.run_id, record, made)


def _observation(name: str, block: int, value: float) -> Observation:
    return Observation(
        block=block,
        order=1,
        arm=ARM,
        stack=STACK,
        loop="",
        mode="",
        workload=name,
        kind=STACK,
        params={},
        status="ok",
        metrics={METRIC: value},
    )
