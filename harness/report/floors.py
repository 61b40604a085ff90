"""A table of what stands beside its floor: bulk transfers and calls against the bare means. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.format import NOTHING, interval, quantity
from harness.report.arms import by_arm
from harness.report.document import Paragraph, Role, Section, Table

if TYPE_CHECKING:
    from harness.records.schema import CellRecord, MetricSummary, RunRecord

_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Arm", "code"),
    ("Clients", "number"),
    ("Model", "number"),
    ("Median", "number"),
    ("Floor", "text"),
    ("Floor's median", "number"),
    ("Ratio", "number"),
    ("Interval", "number"),
)


def against_floors(run: RunRecord) -> list[Section]:
    """Return one section with a row for each cell that timed a floor beside its operations; none without."""
    beside = [cell for cell in by_arm(run.cells) if _value(cell, "floor_ratio") is not None]
    cells = [cell for cell in beside if cell.params.get("floor") != "pace"]  # that is no least of anything
    if not cells:
        return []
    text = (
        "Each operation beside the least that its work could be done with, timed in the same process, "
        "moments apart."
    )
    rows = [_row(cell) for cell in sorted(cells, key=lambda cell: cell.workload)]
    return [Section("Against the floors", [Paragraph(text), Table(_COLUMNS, rows)])]


def _row(cell: CellRecord) -> tuple[str, ...]:
    ratio = cell.metrics["floor_ratio"]
    model_bytes = cell.params.get("model_bytes")
    return (
        cell.workload,
        cell.arm,
        str(cell.params.get("clients", NOTHING)),
        quantity(model_bytes, "B") if isinstance(model_bytes, int | float) else NOTHING,
        _quantity(_value(cell, "latency_p50_s")),
        str(cell.params.get("floor") or "bare queue").replace("_", " "),
        _quantity(_value(cell, "floor_s")),
        _quantity(ratio),
        interval(ratio.ci_low, ratio.ci_high, ratio.unit),
    )


def _value(cell: CellRecord, metric: str) -> MetricSummary | None:
    summary = cell.metrics.get(metric)
    return None if summary is None or summary.value is None else summary


def _quantity(summary: MetricSummary | None) -> str:
    return NOTHING if summary is None else quantity(summary.value, summary.unit)
