"""The table of what stands beside its floor."""

from __future__ import annotations

import msgspec

from harness.records.schema import CellRecord, MetricSummary
from harness.report.floors import against_floors
from tests.fakes.results import fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def cell(workload: str, params: dict[str, object], **values: float) -> CellRecord:
    units = {"latency_p50_s": "s", "floor_s": "s", "floor_ratio": "times"}
    metrics = {
        name: MetricSummary(
            unit=units[name], direction="lower", value=value, ci_low=value * 0.9, ci_high=value * 1.1, n=5
        )
        for name, value in values.items()
    }
    return CellRecord(
        arm="push_process", stack="push", loop="uvloop", mode="process", workload=workload, params=params,
        status="ok", metrics=metrics, texts={}, reasons=[],
    )  # fmt: skip


def test_each_cell_with_a_floor_has_a_row_and_the_pace_is_none() -> None:
    bulk = cell(
        "broadcast_bulk",
        {"clients": 4, "model_bytes": 100_000_000, "floor": "memcpy"},
        latency_p50_s=0.012,
        floor_s=0.01,
        floor_ratio=1.2,
    )
    call = cell("rpc_one", {"clients": 1}, latency_p50_s=1e-4, floor_s=8e-5, floor_ratio=1.3)
    bare = cell("round", {"clients": 20}, latency_p50_s=1e-4)
    paced = cell("round", {"clients": 20, "floor": "pace"}, latency_p50_s=3e-4, floor_s=1e-4, floor_ratio=3)
    run = msgspec.structs.replace(fake_run(), cells=[call, bare, paced, bulk])
    (section,) = against_floors(run)
    rows = section.parts[1].rows
    assert [" | ".join(row).replace(TIMES, "x") for row in rows] == [
        "broadcast_bulk | push_process | 4 | 95.4 MiB | 12.0 ms | memcpy | 10.0 ms | 1.20x | [1.08, 1.32]x",
        "rpc_one | push_process | 1 | — | 100 µs | bare queue | 80.0 µs | 1.30x | [1.17, 1.43]x",
    ]


def test_a_run_without_floors_has_no_section() -> None:
    assert against_floors(fake_run()) == []
