"""Plots of push against polling: side by side, and against every interval of polling."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from harness.records.format import compact, quantity
from harness.report.arms import is_swept, modes, reference_arms, swept_value
from harness.report.frontier import Point, points, push_arm
from harness.report.svg import BLUE, RED, Alternative, draw, scale_axis, tick_formatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from harness.records.schema import Observation, RunRecord

_QUANTITIES = (
    ("idle_federation", "cpu_cores", "CPU at rest"),
    ("fedavg_round", "cpu_s_per_op", "CPU per round"),
    ("rpc_ping", "latency_p50_s", "median call"),
    ("push_notify", "latency_p50_s", "median notification"),
    ("memory_round", "memory_peak_bytes", "peak memory"),
    ("idle_federation", "log_records_per_s", "log records at rest"),
)
"""Workload kind, metric and name of what is compared."""


class _Row(NamedTuple):
    label: str
    unit: str
    push: float
    polling: float


def comparison(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return bars of push and polling for each quantity that both have; None without any."""
    rows = _rows(run, observations)
    if not rows:
        return None
    height_in = 1.2 + 0.55 * len(rows)
    told = Alternative("Push against polling", "; ".join(_told(row) for row in rows))
    return draw("comparison", told, height_in, lambda figure: _bars(figure, rows))


def frontier(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return CPU at rest against latency: push, and polling at every interval; None without a sweep."""
    found = points(run, _kinds(observations))
    if not any(is_swept(point.arm) for point in found):
        return None
    push = push_arm(run)
    told = Alternative(
        "CPU at rest against latency",
        "; ".join(f"{p.arm}: {quantity(p.cpu_cores, 'cores')}, {quantity(p.late_s, 's')}" for p in found),
    )
    return draw("frontier", told, 4.6, lambda figure: _frontier(figure, found, push))


def _kinds(observations: Sequence[Observation]) -> dict[str, str]:
    return {o.workload: o.kind for o in observations}


def _rows(run: RunRecord, observations: Sequence[Observation]) -> list[_Row]:
    kinds = _kinds(observations)
    cells = {(cell.arm, cell.workload): cell.metrics for cell in run.cells}
    rows = []
    for mode in modes(run.cells):
        arms = reference_arms(run.cells, mode)
        for kind, metric, label in _QUANTITIES if len(arms) == 2 else ():
            for workload in sorted(name for name, known in kinds.items() if known == kind):
                push, polling = (cells.get((arms[s], workload), {}).get(metric) for s in ("push", "polling"))
                if push and polling and push.value is not None and polling.value is not None:
                    name = f"{label}\n{workload}, {mode}"
                    rows.append(_Row(name, push.unit, push.value, polling.value))
    return rows


def _told(row: _Row) -> str:
    name = row.label.replace("\n", ", ")
    return f"{name}: push {quantity(row.push, row.unit)}, polling {quantity(row.polling, row.unit)}"


def _bars(figure: Figure, rows: Sequence[_Row]) -> None:
    axes = figure.add_subplot()
    shares = [(max(row.push, row.polling), row) for row in rows]
    smallest = min((v / top for top, row in shares for v in (row.push, row.polling) if v > 0), default=0.1)
    left = min(smallest, 0.5) / 2
    for number, (top, row) in enumerate(shares):
        for value, offset, colour in ((row.push, -0.19, BLUE), (row.polling, 0.19, RED)):
            end = max(value / top, left) if value > 0 else left
            axes.barh(number + offset, end - left, 0.34, left=left, color=colour)
            axes.annotate(
                quantity(value, row.unit),
                (end, number + offset),
                (4, 0),
                textcoords="offset points",
                va="center",
            )
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    scale_axis(axes, "share")
    # Room for what is written behind the longest bar.
    axes.set_xlim(left, (1 / left) ** 0.16)
    axes.set_xlabel("share of the larger of the two (log scale)")
    handles = [
        Line2D([], [], color=c, linewidth=7, label=name) for name, c in (("push", BLUE), ("polling", RED))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)


def _frontier(figure: Figure, found: Sequence[Point], push: str | None) -> None:
    axes = figure.add_subplot()
    # What is 0 is drawn as an arrow at the bottom, because a logarithmic axis has no 0.
    floor = min((p.cpu_cores for p in found if p.cpu_cores), default=1e-3) / 3
    swept = [point for point in found if is_swept(point.arm)]
    axes.plot([p.late_s for p in swept], [max(p.cpu_cores, floor) for p in swept], "-", color=RED)
    for point in found:
        x, y, value = point.late_s, max(point.cpu_cores, floor), swept_value(point.arm)
        colour, marker, size = _look(point, push)
        axes.plot([x], [y], marker=marker, color=colour, markersize=size, linestyle="none")
        if value is not None:
            axes.annotate(f"every {compact(value, 's')}", (x, y), (8, 5), textcoords="offset points")
        else:
            label = point.arm if point.cpu_cores else f"{point.arm}: 0"
            axes.annotate(label, (x, y), (-9, -12), textcoords="offset points", ha="right")
    scale_axis(axes, "s")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(tick_formatter(""))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.14)
    axes.set_xlabel("median latency of a notification (log scale)")
    axes.set_ylabel("CPU at rest in cores (log scale)")


def _look(point: Point, push: str | None) -> tuple[str, str, int]:
    """Return a point's colour, marker and size."""
    colour = BLUE if point.arm == push else RED
    if not point.cpu_cores:
        return colour, "v", 8
    if point.arm == push:
        return colour, "*", 14
    return colour, "o" if is_swept(point.arm) else "s", 6
