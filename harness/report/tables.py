"""A table for each workload: metrics by arm, with estimates and intervals. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.records.format import NOTHING, counted, interval, quantity
from harness.records.metrics import METRICS
from harness.report.arms import by_arm, is_swept
from harness.report.document import Paragraph, Part, Role, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.records.schema import CellRecord, MetricSummary, RunRecord

_TEXT_SHOWN = 12


def workloads(run: RunRecord, latencies: Mapping[str, Sequence[Part]]) -> list[Section]:
    """Return one section for each workload, after one that says how to read them.

    Args:
        run: What was recorded.
        latencies: What stands above the metrics of a workload, by its name.
    """
    names = sorted({cell.workload for cell in run.cells})
    if not names:
        return [Section("Workloads", [Paragraph("No cell was measured.")])]
    legend = (
        "Each value is the Hodges-Lehmann estimate over the blocks, below it its one-sided 95 % bounds "
        "(none with fewer than 5 blocks). A dash is a value that could not be measured."
    )
    return [
        Section(
            "Workloads",
            [Paragraph(legend)],
            folded=True,
            hint=f"{counted(len(names), 'workload')}, every metric",
        ),
        *(
            _workload(name, [c for c in run.cells if c.workload == name], latencies.get(name, ()))
            for name in names
        ),
    ]


def _workload(name: str, cells: Sequence[CellRecord], latencies: Sequence[Part]) -> Section:
    common = _common(cells)
    parts: list[Part] = []
    if common:
        parts.append(Paragraph(", ".join(f"{key} {_parameter(value)}" for key, value in common.items())))
    parts += latencies
    main = [cell for cell in by_arm(cells) if not is_swept(cell.arm)]
    swept = [cell for cell in by_arm(cells) if is_swept(cell.arm)]
    parts += [_table(group, common) for group in (main, swept) if group]
    return Section(name, parts, level=3)


def _parameter(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value) or "none"


def _common(cells: Sequence[CellRecord]) -> dict[str, Any]:
    """Return the parameters that all arms share; the rest are settings of an arm."""
    first = cells[0].params
    return {
        key: value
        for key, value in first.items()
        if all(key in cell.params and cell.params[key] == value for cell in cells)
    }


def _table(cells: Sequence[CellRecord], common: dict[str, Any]) -> Table:
    columns: list[tuple[str, Role]] = [("Metric", "code"), ("Better", "text")]
    columns += [(f"{cell.arm}\n{cell.stack}, {cell.mode}, {cell.loop}", "number") for cell in cells]
    rows = [*_facts(cells, common), *_metrics(cells), *_texts(cells)]
    return Table(columns, rows)


def _facts(cells: Sequence[CellRecord], common: dict[str, Any]) -> Iterator[Sequence[str]]:
    settings = [
        ", ".join(f"{k} {_parameter(v)}" for k, v in cell.params.items() if k not in common) or NOTHING
        for cell in cells
    ]
    if any(setting != NOTHING for setting in settings):
        yield ("settings", "", *settings)
    if any(cell.status != "ok" for cell in cells):
        yield ("status", "", *(cell.status for cell in cells))
    yield ("blocks", "", *(str(_blocks(cell)) for cell in cells))


def _blocks(cell: CellRecord) -> int:
    return max((summary.n for summary in cell.metrics.values()), default=0)


def _metrics(cells: Sequence[CellRecord]) -> Iterator[Sequence[str]]:
    for name, metric in METRICS.items():
        if any(name in cell.metrics for cell in cells):
            values = [_value(cell.metrics.get(name), _blocks(cell)) for cell in cells]
            yield (name, metric.direction, *values)


def _value(summary: MetricSummary | None, blocks: int) -> str:
    if summary is None or summary.value is None:
        return NOTHING
    text = quantity(summary.value, summary.unit)
    bounds = interval(summary.ci_low, summary.ci_high, summary.unit)
    fewer = f"n = {summary.n}" if summary.n < blocks else ""
    return "\n".join(part for part in (text, "" if bounds in (NOTHING, "[0, 0]") else bounds, fewer) if part)


def _texts(cells: Sequence[CellRecord]) -> Iterator[Sequence[str]]:
    for name in sorted({name for cell in cells for name in cell.texts}):
        yield (name, "same", *(_text(cell.texts.get(name, [])) for cell in cells))


def _text(texts: Sequence[str]) -> str:
    if len(texts) > 1:
        return f"{len(texts)} different"
    return next((t if len(t) <= _TEXT_SHOWN else f"{t[:_TEXT_SHOWN]}…" for t in texts), NOTHING)
