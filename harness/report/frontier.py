"""Push beside polling at every interval: what rest costs against how late news arrives. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.records.format import NOTHING, compact, quantity
from harness.report.arms import by_arm, is_swept, modes, reference_arms, swept_value
from harness.report.document import Paragraph, Part, Role, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import RunRecord

_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Arm", "code"),
    ("Interval", "number"),
    ("CPU at rest", "number"),
    ("Median latency", "number"),
    ("Beside push", "text"),
)


class Point(NamedTuple):
    """One arm: its CPU at rest and the median latency of its notifications."""

    arm: str
    cpu_cores: float
    late_s: float


def points(run: RunRecord, kinds: Mapping[str, str]) -> list[Point]:
    """Return the arms of a sweep and those they are compared with, of the modes that were swept.

    Args:
        run: What was recorded.
        kinds: Kind of each workload.
    """
    idle = {
        c.arm: c.metrics.get("cpu_cores") for c in run.cells if kinds.get(c.workload) == "idle_federation"
    }
    swept = {cell.mode for cell in run.cells if is_swept(cell.arm)}
    arms = {arm for mode in swept for arm in reference_arms(run.cells, mode).values()}
    found = []
    for cell in by_arm(run.cells):
        cpu, late = idle.get(cell.arm), cell.metrics.get("latency_p50_s")
        if kinds.get(cell.workload) != "push_notify" or cpu is None or late is None:
            continue
        if cpu.value is not None and late.value and (is_swept(cell.arm) or cell.arm in arms):
            found.append(Point(cell.arm, cpu.value, late.value))
    return found


def push_arm(run: RunRecord) -> str | None:
    """Return the arm that stands for push where the interval of polling was swept, None where it was not."""
    swept = [mode for mode in modes(run.cells) if any(is_swept(c.arm) for c in run.cells if c.mode == mode)]
    return reference_arms(run.cells, swept[0]).get("push") if swept else None


def polling_frontier(run: RunRecord, kinds: Mapping[str, str], figures: Sequence[Part]) -> list[Section]:
    """Return one section with a row for each interval; none where nothing was swept."""
    found = points(run, kinds)
    if not any(is_swept(point.arm) for point in found):
        return []
    push = next((point for point in found if point.arm == push_arm(run)), None)
    text = (
        "Polling can trade CPU for latency by its interval. Push lies beyond that trade if no interval is as "
        "good as it is in either."
    )
    rows = [_row(point, push) for point in found]
    return [Section("Polling frontier", [Paragraph(text), *figures, Table(_COLUMNS, rows)])]


def _row(point: Point, push: Point | None) -> tuple[str, ...]:
    value = swept_value(point.arm)
    return (
        point.arm,
        NOTHING if value is None else compact(value, "s"),
        quantity(point.cpu_cores, "cores"),
        quantity(point.late_s, "s"),
        _beside(point, push),
    )


def _beside(point: Point, push: Point | None) -> str:
    if push is None or point == push:
        return NOTHING
    worse = [
        name
        for name, theirs, ours in (
            ("CPU", point.cpu_cores, push.cpu_cores),
            ("latency", point.late_s, push.late_s),
        )
        if theirs > ours
    ]
    return f"worse in {' and '.join(worse)}" if worse else "as good or better in both"
