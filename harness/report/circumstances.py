"""What a run's numbers can only be trusted with: where it ran, and what was controlled. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.acceptance.estimate import LAG_LIMIT_S
from harness.report.arms import by_arm
from harness.report.document import Bullets, Paragraph, Part, Role, Section, Table
from harness.report.format import NOTHING, compact, quantity
from harness.report.material import NOTHING_BESIDE, Material

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records.schema import Observation, Rates, RunRecord

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
    "resumed_utc": "Resumed",
}


_DEEPEST = 5
"""No fingerprint is nested deeper; an edited one may be."""

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
    rows += _sittings(known.get("sittings"))
    others = [key for key in known if key not in (*_LABELS, "dirty", "sittings")]
    return rows + [(key, _plain(known[key])) for key in others]


def _sittings(found: Any) -> list[tuple[str, str]]:
    """Return the pressure before each sitting after the first, and after each but the last."""
    sittings = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    rows = []
    for number, (one, other) in enumerate(pairwise(sittings), start=1):
        rows.append((f"After sitting {number}", _entry("after", one)))
        rows.append((f"Before sitting {number + 1}", _entry("before", other)))
    return rows


def validity(run: RunRecord, material: Material = NOTHING_BESIDE) -> Section:
    """Return what the numbers can be trusted with: warnings, controls, lag, and how often comparisons err.

    Args:
        run: What was recorded.
        material: What lies beside the record.
    """
    parts = [*_warnings(run), *_controls(run), *_lags(run, material.observations), *_collections(run)]
    return Section("Validity", [*parts, _errs(material.rates)])


def _warnings(run: RunRecord) -> Sequence[Part]:
    if not run.warnings:
        return [Paragraph("Warnings: none.")]
    return [Paragraph("Warnings:"), Bullets(run.warnings)]


def _collections(run: RunRecord) -> Sequence[Part]:
    """Return what the cells recorded of garbage collection; every metric of it begins with ``gc_``."""
    rows = [
        (cell.workload, cell.arm, name, quantity(found.value, found.unit))
        for cell in by_arm(run.cells)
        for name, found in cell.metrics.items()
        if name.startswith("gc_")
    ]
    if not rows:
        text = "Garbage collection: not recorded. Its pauses are part of the latencies."
        return [Paragraph(text)]
    columns: tuple[tuple[str, Role], ...] = (
        ("Workload", "code"),
        ("Arm", "code"),
        ("Metric", "code"),
        ("Value", "number"),
    )
    return [Paragraph("Garbage collection while operations were timed:"), Table(columns, rows)]


def usual(rates: Rates) -> str:
    """Return how many slow-downs of twice the usual margin are found, as the end of a sentence."""
    found = rates.detected_usual
    return "" if found is None else f", and {found} of {rates.injected} of twice the usual margin"


def _errs(rates: Rates | None) -> Part:
    if rates is None:
        return Paragraph("Error rates of the comparison: not calibrated here.")
    return Paragraph(
        f"Error rates of the comparison on {rates.machine}, {rates.blocks} blocks a batch, measured "
        f"{rates.measured_utc}: {rates.alarms} false alarms in {rates.comparisons} comparisons of the same "
        f"code with itself (at most {_share(rates.alarms_upper)}); {rates.detected} of {rates.injected} "
        f"slow-downs of twice what can be told found (at least {_share(rates.detected_lower)}){usual(rates)}"
        ". The bounds are exact at 95 %."
    )


def _entry(key: str, known: Mapping[str, Any]) -> str:
    value = known.get(key)
    if key in ("before", "after") and isinstance(value, Mapping):
        return _pressure(value)
    if key == "memory_bytes" and isinstance(value, int | float):
        return quantity(value, "B")
    if key == "commit" and known.get("dirty"):
        return f"{_plain(value)}, with uncommitted changes"
    return _plain(value)


def _plain(value: Any, depth: int = 0) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        if depth == _DEEPEST:
            return "…"
        return ", ".join(f"{name} {_plain(item, depth + 1)}" for name, item in value.items())
    return str(value)


def _pressure(value: Mapping[str, Any]) -> str:
    load, stalls = value.get("load"), value.get("stall_share")
    averages = load if isinstance(load, Sequence) and not isinstance(load, str) else ()
    loads = ", ".join(f"{average:.2f}" for average in averages if isinstance(average, int | float))
    shares = stalls if isinstance(stalls, Mapping) else {}
    stalled = ", ".join(f"{name} {_share(share)}" for name, share in shares.items())
    return f"load {loads or NOTHING} (1, 5, 15 min); stalled {stalled or NOTHING} (10 s)"


def _share(share: Any) -> str:
    return f"{share:.1%}".replace("%", " %") if isinstance(share, int | float) else NOTHING


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
            _factor(c.spread),
            str(c.n),
        )
        for c in run.controls
    ]
    return [
        Paragraph("A/A control: how far two runs of the same arm lay apart at most, as a factor."),
        Table(_CONTROL_COLUMNS, rows),
        *([Paragraph(f"Not controlled: {', '.join(bare)}.")] if bare else []),
    ]


def _factor(spread: float | None) -> str:
    """Return a log-ratio as a factor; one that only a hand can have written is infinite."""
    if spread is None:
        return "unknown"
    return quantity(math.exp(spread) if spread < 700 else math.inf, "times")


def _lags(run: RunRecord, observations: Iterable[Observation]) -> Sequence[Part]:
    """Return the lags by which the gate calls a cell void: the largest of any block, not the estimate."""
    largest: dict[tuple[str, str], float] = {}
    for o in observations:
        value = o.metrics.get("lag_p99_s")
        if o.status == "ok" and value is not None:
            largest[o.workload, o.arm] = max(value, largest.get((o.workload, o.arm), value))
    rows = []
    for cell in by_arm(run.cells):
        lag = cell.metrics.get("lag_p99_s")
        if lag is not None:
            most = largest.get((cell.workload, cell.arm))
            within = "yes" if most is not None and most <= LAG_LIMIT_S else "no"
            rows.append((cell.workload, cell.arm, quantity(lag.value, "s"), quantity(most, "s"), within))
    if not rows:
        return [Paragraph("Load generator: no workload sent at intended times, so it could not lag.")]
    limit = compact(LAG_LIMIT_S, "s")
    return [
        Paragraph(
            f"Load generator: its lag at the 99th percentile. Beyond {limit} in any block a cell is void."
        ),
        Table(
            (
                ("Workload", "code"),
                ("Arm", "code"),
                ("Lag p99", "number"),
                ("Largest of a block", "number"),
                (f"Within {limit}", "text"),
            ),
            rows,
        ),
    ]
