"""What size costs: slopes per client, and how times grow with the number of clients or bytes. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.records.format import compact, interval, quantity
from harness.report.arms import by_arm, is_swept
from harness.report.document import Paragraph, Part, Role, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.records.schema import CellRecord, RunRecord

SLOPES = {
    "memory_per_client_bytes": "memory of all processes",
    "uss_per_client_bytes": "private memory of an idle client",
    "server_per_client_bytes": "private memory of the server",
    "round_client_s": "time of a round",
}
"""Metrics that are per client, and of what."""

SIZES = {"clients": "", "model_bytes": "B", "payload_bytes": "B"}
"""Parameters that are a size, and their unit."""

_HOW_OFTEN = frozenset({"operations", "rounds", "duration_s", "warmup", "settle_s"})
"""Parameters that say how long to measure, not what."""

_TIMES = ("latency_p50_s", "round_s", "start_s")

_SLOPE_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Arm", "code"),
    ("Clients", "number"),
    ("Per client", "text"),
    ("Value", "number"),
    ("Interval", "number"),
    ("n", "number"),
)
_GROWTH_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Arm", "code"),
    ("Size", "code"),
    ("From", "number"),
    ("To", "number"),
    ("Time from", "number"),
    ("Time to", "number"),
    ("Size grows", "number"),
    ("Time grows", "number"),
    ("Exponent", "number"),
)


class Series(NamedTuple):
    """One kind of workload under one arm at several sizes, everything else alike.

    Attributes:
        kind: Kind of the workloads.
        size: Which parameter grows.
        points: Size and median time in s, the smallest first.
    """

    kind: str
    arm: str
    size: str
    points: tuple[tuple[float, float], ...]

    @property
    def exponent(self) -> float:
        """Slope of log time over log size, by least squares: 1 grows as the size does, 0 not at all."""
        xs, ys = ([math.log(point[i]) for point in self.points] for i in (0, 1))
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - mean_x) ** 2 for x in xs)
        return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread


def series(run: RunRecord, kinds: Mapping[str, str]) -> list[Series]:
    """Return what was measured at two sizes or more.

    Args:
        run: What was recorded.
        kinds: Kind of each workload.
    """
    groups: dict[tuple[Any, ...], dict[float, float]] = {}
    for cell in by_arm(run.cells):
        time_s, kind = _time_s(cell), kinds.get(cell.workload)
        if kind is None or time_s is None or is_swept(cell.arm):
            continue
        for size, value in _sizes(cell):
            rest = {k: v for k, v in cell.params.items() if k != size and k not in _HOW_OFTEN}
            key = (kind, cell.arm, size, repr(sorted(rest.items())))
            groups.setdefault(key, {}).setdefault(value, time_s)
    return [
        Series(kind, arm, size, tuple(sorted(found.items())))
        for (kind, arm, size, _), found in groups.items()
        if len(found) > 1
    ]


def size_text(value: float, size: str) -> str:
    """Return a size with its unit; clients are counted."""
    unit = SIZES[size]
    return compact(value, unit) if unit else f"{value:,.0f}"


def scaling(run: RunRecord, kinds: Mapping[str, str], figures: Sequence[Part]) -> list[Section]:
    """Return one section with slopes and growth; none where the run has neither."""
    slopes = [row for cell in by_arm(run.cells) for row in _slopes(cell)]
    grown = series(run, kinds)
    parts: list[Part] = []
    if slopes:
        parts += [Paragraph("What each client adds."), Table(_SLOPE_COLUMNS, sorted(slopes))]
    if grown:
        text = (
            "The same work at growing sizes. The exponent is the slope of log time over log size: 1 is "
            "proportional, 0 is flat, above 1 each further one costs more than the one before."
        )
        parts += [Paragraph(text), *figures, Table(_GROWTH_COLUMNS, [_growth(s) for s in grown])]
    return [Section("Scaling", parts)] if parts else []


def _time_s(cell: CellRecord) -> float | None:
    found = (cell.metrics[name].value for name in _TIMES if name in cell.metrics)
    return next((value for value in found if value is not None and value > 0), None)


def _sizes(cell: CellRecord) -> Iterator[tuple[str, float]]:
    for size in SIZES:
        value = cell.params.get(size)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            yield size, float(value)


def _slopes(cell: CellRecord) -> Iterator[tuple[str, ...]]:
    for metric, what in SLOPES.items():
        summary = cell.metrics.get(metric)
        if summary is not None and summary.value is not None and not is_swept(cell.arm):
            yield (
                cell.workload,
                cell.arm,
                str(cell.params.get("clients", "")),
                what,
                quantity(summary.value, summary.unit),
                interval(summary.ci_low, summary.ci_high, summary.unit),
                str(summary.n),
            )


def _growth(found: Series) -> tuple[str, ...]:
    (small, first_s), (large, last_s) = found.points[0], found.points[-1]
    return (
        found.kind,
        found.arm,
        found.size,
        size_text(small, found.size),
        size_text(large, found.size),
        quantity(first_s, "s"),
        quantity(last_s, "s"),
        quantity(large / small, "times"),
        quantity(last_s / first_s, "times"),
        f"{found.exponent:.2f}".replace("-", "\N{MINUS SIGN}"),
    )
