"""From what was counted to metrics. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from harness.records.metrics import METRICS
from harness.records.schema import Disturbance
from harness.stats.histogram import Histogram, HistogramData
from harness.stats.order import percentile_upper_bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


LEAST_FOR_A_HUNDREDTH = 100
"""Operations below which nothing is said of the slowest hundredth: it would be less than one."""

_OF_THE_WINDOW = (
    "cpu_cores",
    "cpu_s_per_op",
    "ops_per_s",
    "wakeups_per_s",
    "wakeups_per_op",
    "wakeups_per_client_per_s",
)
_OF_COUNTS = {
    "cpu": ("cpu_cores", "cpu_s_per_op", "cpu_floor_ratio"),
    "wakeups": ("wakeups_per_s", "wakeups_per_op", "wakeups_per_client_per_s"),
    "queues": ("memory_queued_bytes",),
}
"""Metrics that follow from a count of the probes."""
_OF_MEMORY = (
    "memory_start_bytes",
    "memory_peak_bytes",
    "memory_hwm_bytes",
    "memory_file_bytes",
    "memory_queued_bytes",
)
_OF_THE_LOG = ("log_records_per_op", "log_warnings_per_op", "logger_records_per_op")


class Sampled(msgspec.Struct, kw_only=True):
    """What the probes counted from outside while a cell was measured.

    Attributes:
        elapsed_s: Wall time measured.
        cpu_s: CPU time of all processes.
        wakeups: Voluntary switches of all threads.
        log_records: Log records written.
        log_levels: The same by level.
        log_warnings: Of these, WARNING and above.
        log_bytes: Bytes written to stdout and stderr.
        memory_start_bytes: Memory at the first begin, None where it was not asked for.
        memory_peak_bytes: Largest memory seen, None where it was not asked for.
        memory_file_bytes: Pages of files at that moment, which are not in it.
        memory_queued_bytes: What waited in pipes and sockets at that moment, which is in it.
        memory_hwm_bytes: Sum of VmHWM at the end, reset at the begin; None where memory was not asked for, or
            the marks could not be reset.
        probe_cpu_s: CPU time of the measuring process within all windows of the workload.
        probe_s: Wall time of those windows.
        disturbance: What others did during those windows; None where there was none.
        missing: Why a count is not known: ``cpu``, ``wakeups`` or ``queues``.
    """

    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    wakeups: int = 0
    log_records: int = 0
    log_levels: dict[str, int] = {}
    log_warnings: int = 0
    log_bytes: int = 0
    memory_start_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_hwm_bytes: int | None = None
    memory_file_bytes: int | None = None
    memory_queued_bytes: int | None = None
    probe_cpu_s: float = 0.0
    probe_s: float = 0.0
    disturbance: Disturbance | None = None
    missing: dict[str, str] = {}


class Outcome(msgspec.Struct, kw_only=True):
    """What a workload reports from inside.

    Attributes:
        operations: Operations done while measured.
        clients: Clients of the federation, 0 where there is none.
        histograms: ``latency``, ``intended`` and ``lag`` distributions in ns.
        values: Further metrics by name.
        texts: Answers to compare.
        updates_bytes: Bytes of the updates that all clients held at the same time, which no architecture can
            save; 0 where they did not, or nobody knows.
        wrong: What was wrong with the answers; anything here fails the cell.
        logged: Records counted by the root logger while measured.
        missing: Metrics that the cell does not measure, by name, and why.
        floor_cpu_s: CPU time of a floor that lies within the window, once for each operation, and is none of
            theirs; None where there is no such floor, or what it took is not known.
        pauses_ns: Garbage collections of the worker while measured, None where nobody looked.
    """

    operations: int = 0
    clients: int = 0
    histograms: dict[str, HistogramData] = {}
    values: dict[str, float] = {}
    texts: dict[str, str] = {}
    updates_bytes: int = 0
    wrong: list[str] = []
    logged: int = 0
    missing: dict[str, str] = {}
    floor_cpu_s: float | None = None
    pauses_ns: list[int] | None = None


def of_the_window(reason: str) -> dict[str, str]:
    """Return ``reason`` for each metric that takes the measured window for the work of the operations."""
    return dict.fromkeys(_OF_THE_WINDOW, reason)


def of_the_log(reason: str) -> dict[str, str]:
    """Return ``reason`` for each metric that takes what was logged for what the operations logged."""
    return dict.fromkeys(_OF_THE_LOG, reason)


def missing(sampled: Sampled, outcome: Outcome) -> dict[str, str]:
    """Return the metrics that a cell does not measure, and why; what the workload says comes first."""
    uncounted = {metric: reason for count, reason in sampled.missing.items() for metric in _OF_COUNTS[count]}
    return uncounted | outcome.missing


def derive(sampled: Sampled, outcome: Outcome) -> dict[str, float | None]:
    """Return every metric that follows from one cell's counts.

    A metric with a name but no value (None) was asked for and could not be had: a rate over no time, a
    percentile of nothing, the 95 % bound of a p99 of fewer than 299 operations, or one that the workload
    or a probe says is missing.

    Raises:
        ValueError: The workload reports the latency of no operation at all, a metric that :data:`METRICS`
            does not know, or a damaged histogram.
    """
    if "latency" in outcome.histograms and not Histogram.from_dict(outcome.histograms["latency"]).count:
        raise ValueError("measured no operation: none ended of those whose latency it reports")
    metrics: dict[str, float | None] = {
        "cpu_cores": _per(sampled.cpu_s, sampled.elapsed_s),
        "wakeups_per_s": _per(sampled.wakeups, sampled.elapsed_s),
        "log_records_per_s": _per(sampled.log_records, sampled.elapsed_s),
        "log_bytes_per_s": _per(sampled.log_bytes, sampled.elapsed_s),
    }
    if outcome.operations:
        metrics |= _per_operation(sampled, outcome)
    if outcome.clients:
        metrics["wakeups_per_client_per_s"] = _per(sampled.wakeups / outcome.clients, sampled.elapsed_s)
    metrics |= _memory(sampled, outcome)
    metrics |= _latency(outcome.histograms)
    if "probe_latency_ratio" in outcome.values:
        metrics["probe_cpu_cores"] = _per(sampled.probe_cpu_s, sampled.probe_s)
    if outcome.pauses_ns is not None:
        metrics["gc_pause_max_s"] = max(outcome.pauses_ns, default=0) / 1e9
        latency = Histogram.from_dict(outcome.histograms["latency"]) if _one_at_a_time(outcome) else None
        if latency and latency.count >= LEAST_FOR_A_HUNDREDTH:
            metrics["gc_slow_share"] = _collected(outcome.pauses_ns, latency)
    metrics |= outcome.values
    metrics |= {name: None for name in missing(sampled, outcome) if name in metrics}
    unknown = (metrics.keys() | outcome.missing.keys()) - METRICS.keys()
    if unknown:
        raise ValueError(f"unknown metrics {sorted(unknown)}: add them to harness.records.metrics")
    return metrics


def _per_operation(sampled: Sampled, outcome: Outcome) -> dict[str, float | None]:
    floor_s = outcome.floor_cpu_s or 0.0
    cpu_s = sampled.cpu_s - floor_s
    return ({"cpu_floor_ratio": cpu_s / floor_s} if floor_s else {}) | {
        "cpu_s_per_op": cpu_s / outcome.operations,
        "ops_per_s": _per(outcome.operations, sampled.elapsed_s),
        "wakeups_per_op": sampled.wakeups / outcome.operations,
        "log_records_per_op": sampled.log_records / outcome.operations,
        "log_warnings_per_op": sampled.log_warnings / outcome.operations,
        "logger_records_per_op": outcome.logged / outcome.operations,
    }


def _memory(sampled: Sampled, outcome: Outcome) -> dict[str, float | None]:
    if sampled.memory_peak_bytes is None:
        return {}
    metrics: dict[str, float | None] = {}
    for name in _OF_MEMORY:
        value = getattr(sampled, name)
        metrics[name] = None if value is None else float(value)
    if outcome.updates_bytes:
        metrics["memory_above_updates_bytes"] = float(sampled.memory_peak_bytes - outcome.updates_bytes)
    return metrics


def _per(amount: float, elapsed_s: float) -> float | None:
    return amount / elapsed_s if elapsed_s > 0 else None


def _latency(histograms: Mapping[str, HistogramData]) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {}
    for name, data in histograms.items():
        histogram = Histogram.from_dict(data)
        metrics[f"{name}_p99_s"] = _percentile_s(histogram, 0.99)
        if name == "lag":
            continue
        metrics[f"{name}_p50_s"] = _percentile_s(histogram, 0.50)
        bound_ns = percentile_upper_bound(histogram, 0.99)
        metrics[f"{name}_p99_bound_s"] = None if bound_ns is None else bound_ns / 1e9
        if name == "latency":
            metrics["latency_max_s"] = _percentile_s(histogram, 1.0)
    return metrics


def _one_at_a_time(outcome: Outcome) -> bool:
    """Whether operations were timed that do not overlap: those with an intended time do."""
    return "latency" in outcome.histograms and "intended" not in outcome.histograms


def _collected(pauses_ns: Sequence[int], latency: Histogram) -> float:
    """Return the share of the slowest hundredth of the operations that garbage collections explain, at most.

    The operations carry no times, which would cost something where it counts. But to lift an operation from
    the median beyond the p99, a pause has to be as long as what lies between; and where they come one at a
    time, it lifts one of them: so many pauses explain at most so many of the slowest operations.
    """
    gap_ns = latency.percentile(0.99) - latency.percentile(0.5)
    slowest = math.ceil(latency.count / 100)
    long = sum(pause_ns >= gap_ns for pause_ns in pauses_ns)
    return min(1.0, long / slowest)


def _percentile_s(histogram: Histogram, p: float) -> float | None:
    return histogram.percentile(p) / 1e9 if histogram.count else None
