"""What a run's numbers can only be trusted with: where it ran, and what was controlled. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.gate.decide import LAG_LIMIT_S
from harness.report.arms import by_arm
from harness.report.document import Paragraph, Part, Role, Section, Table
from harness.report.format import NOTHING, compact, interval, quantity

if TYPE_CHECKING:
    from harness.records.schema import RunRecord

_LABELS = {
    "cpu_model": "CPU",
    "cores": "Cores",
    "cores_usable": "Cores usable",
    "governor": "Frequency governor",
    "memory_bytes": "Memory",
    "cgroup_cpu_max": "cgroup cpu.max",
    "cgroup_memory_max": "cgroup memory.max",
    "kernel": "Kernel",
    "architecture": "Architecture",
    "python": "Python",
    "packages": "Packages",
    "commit": "Commit",
    "before": "Before the run",
    "after": "After the run",
}


_CONTROL_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Arm", "code"),
    ("Metric", "code"),
    ("Factor", "number"),
    ("n", "number"),
)

_COMPARED = ("reduction", "ratio", "limit", "frontier")
"""Kinds of criteria that an A/A control could overturn."""


def environment(run: RunRecord) -> Section:
    """Return the fingerprint of machine and checkout. What could not be read is a dash."""
    rows = [*facts(run.environment), ("Command", run.command), ("Seed", str(run.seed))]
    return Section("Environment", [Table((("What", "text"), ("Found", "text")), rows)])


def facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a fingerprint, as :func:`harness.records.environment.fingerprint` returns it, for people."""
    rows = [(label, _entry(key, known)) for key, label in _LABELS.items() if key in known]
    return rows + [(key, _plain(value)) for key, value in known.items() if key not in (*_LABELS, "dirty")]


def validity(run: RunRecord) -> Section:
    """Return the A/A controls and the load generator's lag, and what was not controlled."""
    return Section(
        "Validity",
        [
            *_controls(run),
            *_lags(run),
            Paragraph(
                "Garbage collection: n/a. Its pauses are part of the latencies, not timed by themselves."
            ),
        ],
    )


def _entry(key: str, known: Mapping[str, Any]) -> str:
    value = known[key]
    if key in ("before", "after") and isinstance(value, Mapping):
        return _pressure(value)
    if key == "memory_bytes":
        return quantity(value, "B")
    if key == "commit" and known.get("dirty"):
        return f"{_plain(value)}, with uncommitted changes"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return str(value)


def _pressure(value: Mapping[str, Any]) -> str:
    loads = ", ".join(f"{load:.2f}" for load in value.get("load", ()))
    stalls = value.get("stall_share", {})
    stalled = ", ".join(f"{name} {_share(share)}" for name, share in stalls.items())
    return f"load {loads or NOTHING} (1, 5, 15 min); stalled {stalled or NOTHING} (10 s)"


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.1%}".replace("%", " %")


def _controls(run: RunRecord) -> Sequence[Part]:
    if not run.controls:
        return [Paragraph("A/A control: none. Nothing tells how far two runs of the same arm lie apart.")]
    covered = {(c.arm, c.workload, c.metric) for c in run.controls if c.n}
    bare = [
        c.id for c in run.criteria if c.kind in _COMPARED and (c.arm, c.workload, c.metric) not in covered
    ]
    rows = [
        (
            c.workload,
            c.arm,
            c.metric,
            "unknown" if c.spread is None else quantity(math.exp(c.spread), "times"),
            str(c.n),
        )
        for c in run.controls
    ]
    return [
        Paragraph("A/A control: how far two runs of the same arm lay apart at most, as a factor."),
        Table(_CONTROL_COLUMNS, rows),
        *([Paragraph(f"Not controlled: {', '.join(bare)}.")] if bare else []),
    ]


def _lags(run: RunRecord) -> Sequence[Part]:
    rows = []
    for cell in by_arm(run.cells):
        lag = cell.metrics.get("lag_p99_s")
        if lag is not None:
            largest = max((v for v in (lag.value, lag.ci_high) if v is not None), default=math.inf)
            rows.append(
                (
                    cell.workload,
                    cell.arm,
                    quantity(lag.value, "s"),
                    interval(lag.ci_low, lag.ci_high, "s"),
                    "yes" if largest <= LAG_LIMIT_S else "no",
                )
            )
    if not rows:
        return [Paragraph("Load generator: no workload sent at intended times, so it could not lag.")]
    limit = compact(LAG_LIMIT_S, "s")
    return [
        Paragraph(
            f"Load generator: its lag at the 99th percentile. Beyond {limit} in a block a cell is void."
        ),
        Table(
            (
                ("Workload", "code"),
                ("Arm", "code"),
                ("Lag p99", "number"),
                ("Interval", "number"),
                (f"Within {limit}", "text"),
            ),
            rows,
        ),
    ]
