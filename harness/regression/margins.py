"""What a change must reach to matter: a practical margin and an absolute floor for each gated metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class Margin(NamedTuple):
    """When a change of a metric matters: it must exceed both.

    Attributes:
        share: Share of the base by which the metric may become worse.
        floor: Difference, in the metric's unit, below which nothing is said whatever the share.
    """

    share: float
    floor: float


MARGINS: dict[str, Margin] = {
    "latency_p50_s": Margin(0.10, 5e-6),
    "latency_p99_s": Margin(0.25, 100e-6),
    "intended_p50_s": Margin(0.10, 50e-6),
    "intended_p99_s": Margin(0.25, 500e-6),
    "round_s": Margin(0.10, 50e-6),
    "start_s": Margin(0.10, 0.020),
    "benchmark_s": Margin(0.10, 20e-9),
    "floor_ratio": Margin(0.10, 0.05),
    "latency_hops": Margin(0.10, 0.1),
    "cpu_floor_ratio": Margin(0.10, 0.05),
    "growth_ratio": Margin(0.10, 0.05),
    "cpu_s_per_op": Margin(0.10, 3e-6),
    "cpu_cores": Margin(0.10, 0.002),
    "server_cpu_cores": Margin(0.10, 0.001),
    "wakeups_per_op": Margin(0.10, 0.1),
    "wakeups_per_s": Margin(0.10, 0.5),
    "wakeups_per_client_per_s": Margin(0.10, 0.1),
    "memory_peak_bytes": Margin(0.05, 1 << 20),
    "model_copies": Margin(0.02, 0.5),
    "leak_bytes_per_round": Margin(0.10, 2 << 10),
    "memory_per_client_bytes": Margin(0.05, 64 << 10),
    "uss_per_client_bytes": Margin(0.05, 64 << 10),
    "server_per_client_bytes": Margin(0.05, 512),
    "log_records_per_s": Margin(0.01, 0.05),
    "log_records_per_op": Margin(0.01, 0.01),
    "log_warnings_per_op": Margin(0.01, 0.001),
}
"""Metrics that are not here are reported and decide nothing. Where they come from: docs/measuring.md."""

ALIKE = (
    ("floor_ratio", "latency_hops", "round_s", "latency_p50_s"),
    ("cpu_floor_ratio", "cpu_s_per_op", "cpu_cores"),
    ("wakeups_per_op", "wakeups_per_s", "wakeups_per_client_per_s"),
    ("log_records_per_op", "log_records_per_s"),
)
"""Metrics that say the same of a cell: the first that it has is compared, one with its own floor first.

In an open loop the time from the moment that was intended says something else than that from the send: a
system that holds its callers up shows in the first only.
"""


IN_TURN = ("floor_ratio", "latency_hops", "cpu_floor_ratio", "growth_ratio")
"""Times as multiples of something that the same process did in turn with it."""

DRIFT, DRIFT_P99, DRIFT_WAKEUPS = 0.3, 0.5, 0.15
"""Allowance for other times, for their 99th percentiles and for wake-ups. Kept runs of one version on one
class of machines that lay hours apart differed in them by up to 24, 38 and 9 %, at the same speed."""


def telling(metrics: Collection[str]) -> list[str]:
    """Return the gated metrics of a cell that are compared, of those it has values of.

    Where the peak of memory was sampled, that took time: only memory and log records are compared.
    """
    there = [name for name in MARGINS if name in metrics]
    if "memory_peak_bytes" in there:
        there = [name for name in there if name.endswith(("_bytes", "_copies")) or name.startswith("log_")]
    spare = {name for group in ALIKE for name in [one for one in group if one in there][1:]}
    return [name for name in there if name not in spare]


def counted(metric: str) -> bool:
    """Whether a metric counts something: its outliers were there; a time's may be the machine's."""
    return metric.startswith(("log_", "wakeups_", "leak_")) or metric.endswith(("_bytes", "_copies"))


def steady(metric: str) -> bool:
    """Whether a metric hardly depends on how fast the machine happens to be.

    These are counts, sizes, and times that are told by a floor of the same moment. They decide whether a
    comparison had the power it needs. Runs of one version, made hours apart, agree in most within 2 %.
    """
    return counted(metric) or metric in IN_TURN


def drift(metric: str) -> float:
    """Return the share by which runs of one version may differ in a metric because they were made apart."""
    if metric.startswith("wakeups_"):
        return DRIFT_WAKEUPS
    if steady(metric):
        return 0.0
    return DRIFT_P99 if metric.endswith("p99_s") else DRIFT


def overridden(assignments: Iterable[str]) -> Mapping[str, Margin]:
    """Return the margins with some shares replaced.

    Args:
        assignments: ``METRIC=SHARE`` each, the share as ``0.2`` or ``20%``.

    Raises:
        ConfigError: A metric has no margin, or a share is no number above 0.
    """
    margins, problems = dict(MARGINS), []
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in MARGINS:
            problems.append(Problem("", f"no metric {name!r} is gated: use one of {', '.join(MARGINS)}"))
            continue
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 < share < float("inf"):
            problems.append(Problem("", f"{assignment!r}: give the share as 0.2 or 20 %, above 0"))
            continue
        margins[name] = margins[name]._replace(share=share)
    if problems:
        raise ConfigError("--threshold", problems)
    return margins
