"""What makes a run hard to trust. Pure."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from harness.acceptance.estimate import LAG_LIMIT_S
from harness.records.disturbance import STEAL_LIMIT
from harness.records.summary import is_quiet
from harness.run.sittings import sittings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.records.schema import Observation
    from harness.run.sittings import Sitting

STALL_LIMIT = 0.25
"""Share of time that tasks waited for a core before the run."""
SPREAD_LIMIT = 0.10
"""Standard deviation between blocks as a share of the mean; pyperf warns from there on, too."""
LEAST_BLOCKS = 3
COLLECTED_LIMIT = 0.5
"""Share of the slowest operations that garbage collections explain."""
SPREADING = ("latency_p50_s", "round_s", "start_s")
"""Metrics that are medians of many operations, or long, and should come out the same in each block."""
NAMED = 5
"""Cells that one warning names."""


def warnings_of(environment: Mapping[str, Any], observations: Sequence[Observation]) -> list[str]:
    """Return what to know before a run's numbers are trusted, one sentence each.

    Args:
        environment: Fingerprint of the machine, and its pressure ``before`` and ``after`` each sitting.
        observations: Everything that was measured.
    """
    sittings = sittings_of(environment)
    return [
        *_resumed(environment),
        *_crowded(environment, sittings),
        *_stolen(sittings),
        *_dirty(environment),
        *_late(observations),
        *_spread(observations),
        *_collected(observations),
    ]


def _resumed(environment: Mapping[str, Any]) -> Iterator[str]:
    times = environment.get("resumed_utc")
    if times:
        yield f"the run broke off and was resumed at {times}: its blocks are not of one sitting"


def _crowded(environment: Mapping[str, Any], sittings: Sequence[Sitting]) -> Iterator[str]:
    cores = environment.get("cores_usable")
    for number, sitting in enumerate(sittings):
        # Only before it: afterwards the averages still show the last worker.
        when, who = "before the run", "other programs were running"
        if number:
            when, who = "before it was resumed", f"{who}, or the run that broke off was still ending"
        share, load = sitting.before.stall_share.get("cpu"), sitting.before.load
        if share is not None and share > STALL_LIMIT:
            yield f"{when}, tasks waited for a core {share:.0%} of the time: {who}"
        if load and cores and load[0] > cores:
            yield f"{when}, the load average was {load[0]:.1f} on {cores} cores: {who}"


def _stolen(sittings: Sequence[Sitting]) -> Iterator[str]:
    """Tell what was stolen during sittings: what was between two, and on other boots, disturbed nothing."""
    spent = stolen = 0
    for before, after in ((s.before.cpu_ticks, s.after.cpu_ticks) for s in sittings):
        if before and after and after["all"] > before["all"]:
            spent += after["all"] - before["all"]
            stolen += after["steal"] - before["steal"]
    if spent and stolen / spent > STEAL_LIMIT:
        share = stolen / spent
        yield f"the hypervisor gave {share:.1%} of the CPU time to other virtual machines (steal)"


def _dirty(environment: Mapping[str, Any]) -> Iterator[str]:
    if environment.get("dirty"):
        yield "the checkout has uncommitted changes: the commit alone does not reproduce this run"


def _late(observations: Sequence[Observation]) -> Iterator[str]:
    late = {
        f"{o.arm} {o.workload}" for o in observations if (o.metrics.get("lag_p99_s") or 0.0) > LAG_LIMIT_S
    }
    if late:
        names = ", ".join(sorted(late))
        yield f"the load generator lagged more than 10 ms at p99, latencies may be void: {names}"


def _spread(observations: Sequence[Observation]) -> Iterator[str]:
    values: dict[str, list[float]] = {}
    for o in filter(is_quiet, observations):
        for name in SPREADING:
            value = o.metrics.get(name)
            if value is not None:
                values.setdefault(f"{o.arm} {o.workload} {name}", []).append(value)
    spreads = {name: _spread_of(of_cell) for name, of_cell in values.items() if len(of_cell) >= LEAST_BLOCKS}
    wide = {name: spread for name, spread in spreads.items() if spread > SPREAD_LIMIT}
    if wide:
        yield f"unstable, with a standard deviation between blocks beyond {SPREAD_LIMIT:.0%}: {_worst(wide)}"


def _spread_of(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return statistics.stdev(values) / mean if mean > 0 else math.inf if any(values) else 0.0


def _collected(observations: Sequence[Observation]) -> Iterator[str]:
    shares: dict[str, float] = {}
    for o in observations:
        cell, share = f"{o.arm} {o.workload}", o.metrics.get("gc_slow_share") or 0.0
        if share > COLLECTED_LIMIT:
            shares[cell] = max(shares.get(cell, 0.0), share)
    if shares:
        yield f"garbage collections may explain most of the slowest operations: {_worst(shares)}"


def _worst(shares: Mapping[str, float]) -> str:
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {share:.0%}" for name, share in ranked[:NAMED])
    return named + (f" and {len(ranked) - NAMED} more" if len(ranked) > NAMED else "")
