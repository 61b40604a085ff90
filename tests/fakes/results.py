"""A made-up run like the quick suite's: every verdict, a failed and an unsupported cell, missing values.

The same on every machine: only :class:`random.Random` draws. The verdicts are written down, so that reports
can be tested whatever the gate decides.
"""

from __future__ import annotations

import math
import random
import sys
from functools import cache
from typing import Any

import msgspec

from harness.acceptance.control import control
from harness.acceptance.samples import Samples
from harness.records.derive import Outcome, Sampled, derive
from harness.records.metrics import METRICS
from harness.records.schema import CriterionRecord, Observation, Rates, RunRecord, Verdict
from harness.records.summary import summarise
from harness.report.material import FILES, Material
from harness.stats.histogram import Histogram

BLOCKS = 5
TIMED = ("broadcast", "future", "hop", "push_notify", "rpc_ping")
"""Workloads whose operations are timed one by one."""
PLOT_NAMES = (
    *("criteria", "comparison", "ratios", "frontier", "growth", "phases"),
    *(f"latency-{workload}" for workload in TIMED),
)
PLOT_PATHS = {name: f"plots/{name}.svg" for name in PLOT_NAMES}
SWEEP = (0.001, 0.005, 0.02, 0.1, 0.5, 1.0)

WORKLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "rpc_ping": ("rpc_ping", {"clients": 100, "operations": 3000, "payload_bytes": 64}),
    "push_notify": ("push_notify", {"clients": 100, "operations": 400, "rate_per_s": 400.0}),
    "broadcast": ("broadcast", {"clients": 20, "model_bytes": 1 << 20, "operations": 20}),
    "fedavg_round": ("fedavg_round", {"clients": 20, "rounds": 20, "model_bytes": 4096}),
    "memory_round": ("memory_round", {"clients": 20, "rounds": 3, "model_bytes": 16 << 20}),
    "idle_federation": ("idle_federation", {"clients": 100, "idle_s": 2.0}),
    "digits_training": ("digits_training", {"clients": 10, "rounds": 20, "seed": 7}),
    "hop": ("floor", {"operation": "hop", "operations": 5000}),
    "future": ("floor", {"operation": "future", "operations": 5000}),
    "round_100": ("fedavg_round", {"clients": 100, "rounds": 10, "model_bytes": 4096}),
}

FLAME = b'<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="90"><script>throw "run"</script></svg>'
"""A picture whose script must not run in a page."""

PHASES = {"round_ask_s": 0.2, "round_collect_s": 0.6, "round_reduce_s": 0.15, "round_publish_s": 0.05}
"""Share of a round by phase."""

RATES = Rates(
    procedure="paired",
    machine="Example Processor 3.0 GHz, 2 cores, x86_64, Python 3.11",
    measured_utc="2025-01-01T00:00:00Z",
    comparisons=300,
    alarms=1,
    alarms_upper=0.0157,
    injected=200,
    detected=196,
    detected_lower=0.9547,
    blocks=12,
)


def _criterion(
    identity: str,
    title: str,
    kind: str,
    about: tuple[str, str, str, str],
    decided: tuple[float, float | None, float | None, float | None, Verdict, str],
) -> CriterionRecord:
    """Return a criterion ``about`` workload, metric, arm and other arm, ``decided`` on target to reason."""
    workload, metric, arm, against = about
    target, value, low, high, verdict, reason = decided
    units = {"reduction": "share saved", "frontier": "share saved", "ratio": "times", "equal": "distinct"}
    return CriterionRecord(
        id=identity,
        title=title,
        kind=kind,
        mode="memory",
        workload=workload,
        metric=metric,
        arm=arm,
        against=against,
        against_workload=workload if against else "",
        unit=units[kind] if kind in units else METRICS[metric].unit,
        target=target,
        value=value,
        ci_low=low,
        ci_high=high,
        n=0 if value is None else BLOCKS,
        verdict=verdict,
        reason=reason,
    )


CRITERIA = [
    _criterion("cpu-idle", "CPU of an idle federation", "reduction",
               ("idle_federation", "cpu_cores", "push", "polling"),
               (0.8, 0.9918, 0.9874, 0.9959, "pass", "")),
    _criterion("cpu-round", "CPU per round", "reduction",
               ("fedavg_round", "cpu_s_per_op", "push", "polling"),
               (0.6, 0.788, 0.721, 0.901, "contaminated",
                "two runs of the same arm lay a factor 2.56 apart: that could overturn it")),
    _criterion("latency-rpc", "Latency of a call", "reduction",
               ("rpc_ping", "latency_p50_s", "push", "polling"), (0.9, 0.9972, 0.9971, 0.9974, "pass", "")),
    _criterion("memory", "Peak memory through rounds", "reduction",
               ("memory_round", "memory_peak_bytes", "push", "polling"),
               (0.5, 0.393, 0.388, 0.399, "fail", "the whole interval misses the target")),
    _criterion("logs-idle", "Log records at rest", "reduction",
               ("idle_federation", "log_records_per_s", "push", "polling"),
               (0.95, 1.0, 1.0, 1.0, "pass", "")),
    _criterion("rpc-p99", "Calls end within 10 ms", "limit",
               ("rpc_ping", "latency_p99_bound_s", "push", ""),
               (0.01, 119e-6, 112e-6, 150e-6, "pass", "")),
    _criterion("broadcast-p99", "Broadcasts end within 5 ms", "limit",
               ("broadcast", "latency_p99_bound_s", "push", ""),
               (0.005, None, None, None, "inconclusive",
                "latency_p99_bound_s could not be measured in 5 of 5 blocks")),
    _criterion("round-asyncio", "Rounds on asyncio take at most 1.05 times those on uvloop", "ratio",
               ("fedavg_round", "round_s", "push_asyncio", "push"),
               (1.05, 1.03, 0.965, 1.097, "inconclusive", "the interval of 5 blocks spans the target")),
    _criterion("accuracy", "The digits are learned", "at_least", ("digits_training", "accuracy", "push", ""),
               (0.9, 0.9417, 0.9417, 0.9417, "pass", "")),
    _criterion("model", "The same model from both", "equal", ("digits_training", "model_digest", "", ""),
               (1.0, 1.0, 1.0, 1.0, "pass", "1 different in 10 observations")),
    _criterion("frontier", "No interval of polling is as good in both", "frontier",
               ("push_notify", "latency_p50_s", "push", "polling"),
               (0.0, 0.606, 0.405, 0.808, "pass", "closest: cpu_cores of polling@1")),
]  # fmt: skip

_ARMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "push": ("push", "uvloop", (*tuple(WORKLOADS)[:7], "round_100")),
    "push_again": ("push", "uvloop", ("rpc_ping", "fedavg_round", "idle_federation")),
    "polling": ("polling", "uvloop", tuple(WORKLOADS)[:7]),
    "push_asyncio": ("push", "asyncio", ("rpc_ping", "fedavg_round", "broadcast")),
    "floors": ("floors", "uvloop", ("hop", "future", "broadcast")),
    **{f"polling@{value:g}": ("polling", "uvloop", ("push_notify", "idle_federation")) for value in SWEEP},
}

_LATENCY_S = {
    ("push", "rpc_ping"): 60e-6,
    ("polling", "rpc_ping"): 22e-3,
    ("push", "push_notify"): 35e-6,
    ("polling", "push_notify"): 11e-3,
    ("push", "broadcast"): 3e-3,
    ("polling", "broadcast"): 2.2e-3,
    ("floors", "hop"): 4e-6,
    ("floors", "future"): 9e-6,
}


@cache
def fake_observations() -> tuple[Observation, ...]:
    """Return five blocks of observations in the order run."""
    rng = random.Random(7)
    found = []
    for block in range(1, BLOCKS + 1):
        arms = list(_ARMS)
        rng.shuffle(arms)
        for order, arm in enumerate(arms, start=1):
            found += [
                _observation(_source(rng, block, workload), block, order, arm, workload)
                for workload in _ARMS[arm][2]
            ]
    return tuple(found)


def _source(rng: random.Random, block: int, workload: str) -> random.Random:
    """Return what draws for a workload; one that came later has its own, so that the others stay the same."""
    return random.Random(block) if workload == "round_100" else rng


def fake_material() -> Material:
    """Return all that may lie beside the record."""
    beside = (("logs/", "output of the measured processes"), ("profiles/push rpc.svg", "a flame graph"))
    return Material(fake_observations(), (*FILES, *beside), RATES, (("profiles/push rpc.svg", FLAME),))


@cache
def fake_run() -> RunRecord:
    """Return the run's record."""
    observations = fake_observations()
    samples = Samples(observations)
    controls = [
        control(samples, "push", "push_again", workload, metric)
        for workload, metric in sorted({(c.workload, c.metric) for c in CRITERIA})
        if workload in _ARMS["push_again"][2]
    ]
    order = {o.block: [] for o in observations}
    for o in observations:
        if o.arm not in order[o.block]:
            order[o.block].append(o.arm)
    return RunRecord(
        run_id="20250102T030405Z-quick-0a1b2c3",
        suite="quick",
        title="Push against polling, quick",
        command="fedbench run quick --seed 7",
        seed=7,
        blocks_planned=BLOCKS,
        blocks_done=BLOCKS,
        started_utc="2025-01-02T03:04:05Z",
        duration_s=163.204,
        environment=_environment(),
        order=list(order.values()),
        cells=summarise(observations),
        criteria=CRITERIA,
        controls=controls,
        warnings=["the checkout has uncommitted changes: the commit alone does not reproduce this run"],
        not_measured=[
            "criterion network-rpc: its cells were filtered out",
            "push_asyncio broadcast: failed: the worker ended with SIGKILL; 3 of 20 clients had the model",
        ],
        ended="complete",
        verdict="fail",
        reason="1 contaminated, 1 fail, 2 inconclusive, 7 pass; first failed: memory",
        exit_code=1,
        control_arms=["push_again"],
    )


def bare_run(**changes: Any) -> RunRecord:
    """Return a run in which nothing was measured, with ``changes``."""
    nothing: dict[str, Any] = {"cells": [], "criteria": [], "controls": [], "order": [], "not_measured": []}
    ended = {"warnings": [], "verdict": "nothing ran", "reason": "no cell was measured", "exit_code": 5}
    return msgspec.structs.replace(fake_run(), **{**nothing, **ended, **changes})


def _observation(rng: random.Random, block: int, order: int, arm: str, workload: str) -> Observation:
    stack, loop, _ = _ARMS[arm]
    kind, params = WORKLOADS[workload]
    value = float(arm.partition("@")[2] or 0.0)
    settings = {"poll_interval_s": value} if value else {}
    common = {
        "block": block, "order": order, "arm": arm, "stack": stack, "loop": loop, "mode": "memory",
        "workload": workload, "kind": kind, "params": {**params, **settings},
    }  # fmt: skip
    if arm == "floors" and kind != "floor":
        return Observation(**common, status="unsupported", reasons=["floors have no clients"])
    if (arm, workload, block) == ("push_asyncio", "broadcast", 3):
        why = "the worker ended with SIGKILL; 3 of 20 clients had the model"
        return Observation(**common, status="failed", reasons=[why], elapsed_s=0.4)
    sampled = _sampled(rng, arm, workload)
    outcome = _outcome(rng, arm, workload)
    metrics = derive(sampled, outcome)
    return Observation(
        **common,
        status="ok",
        elapsed_s=sampled.elapsed_s,
        operations=outcome.operations,
        metrics=metrics,
        texts=outcome.texts,
        histograms=outcome.histograms,
    )


def _sampled(rng: random.Random, arm: str, workload: str) -> Sampled:
    stack = _ARMS[arm][0]
    sampled = Sampled(elapsed_s=2.0 if workload == "idle_federation" else rng.uniform(0.9, 1.1))
    interval_s = float(arm.partition("@")[2] or 0.02)
    polls = 100 / interval_s * sampled.elapsed_s if stack == "polling" else 0.0
    sampled.cpu_s = polls * 25e-6 * rng.uniform(0.9, 1.1) + (0.0 if workload == "idle_federation" else 0.3)
    if stack == "push" and workload == "idle_federation":
        sampled.cpu_s = rng.uniform(1e-3, 3e-3)
    if stack == "push" and workload == "fedavg_round":
        sampled.cpu_s = rng.uniform(0.04, 0.12)
    sampled.wakeups = round(polls * rng.uniform(0.95, 1.0)) + (4 if workload == "idle_federation" else 900)
    sampled.log_records = round(polls / 100) if stack == "polling" else 0
    sampled.log_bytes = sampled.log_records * 96
    if workload == "memory_round":
        model = 16 << 20
        sampled.memory_start_bytes = round(90e6 * rng.uniform(0.98, 1.02))
        copies = 24 if stack == "push" else 43
        sampled.memory_peak_bytes = sampled.memory_start_bytes + round(
            copies * model * rng.uniform(0.99, 1.01)
        )
        sampled.memory_hwm_bytes = round(sampled.memory_peak_bytes * 1.02)
        sampled.memory_file_bytes, sampled.memory_queued_bytes = 7 << 20, 4096
    return sampled


def _outcome(rng: random.Random, arm: str, workload: str) -> Outcome:
    stack = _ARMS[arm][0]
    outcome = Outcome(clients=0 if stack == "floors" else int(WORKLOADS[workload][1]["clients"]))
    middle_s = _LATENCY_S.get((stack, workload))
    if "@" in arm:
        middle_s = float(arm.partition("@")[2]) / 2 if workload == "push_notify" else None
    if middle_s is not None:
        slower = 1.6 if arm == "push_asyncio" else 1.0
        shift = rng.uniform(0.92, 1.08) * slower
        count = 20 if workload == "broadcast" else 400
        outcome.operations = count
        outcome.histograms["latency"] = _histogram(rng, middle_s * shift, 0.25, count)
        if workload == "push_notify":
            outcome.histograms["intended"] = _histogram(rng, middle_s * shift + 4e-4, 0.3, count)
            outcome.histograms["lag"] = _histogram(rng, 3e-4, 0.5, count)
    if workload in ("fedavg_round", "digits_training", "memory_round", "round_100"):
        outcome.operations = int(WORKLOADS[workload][1]["rounds"])
        slow = 1.02 if arm == "push_asyncio" else 1.0
        slow *= 4.5 if workload == "round_100" else 1.0
        round_s = (3e-3 if stack == "push" else 0.06) * slow * rng.uniform(0.95, 1.05)
        outcome.values["round_s"] = round_s
        if workload != "memory_round":
            outcome.values |= {name: share * round_s for name, share in PHASES.items()}
    if workload == "digits_training":
        outcome.values["accuracy"] = 0.9417
        outcome.texts["model_digest"] = "9f" * 32
    return outcome


def _histogram(rng: random.Random, median_s: float, sigma: float, count: int) -> dict[str, Any]:
    histogram = Histogram()
    for _ in range(count):
        histogram.record(round(rng.lognormvariate(math.log(median_s), sigma) * 1e9))
    return histogram.to_dict()


def _environment() -> dict[str, Any]:
    return {
        "cpu_model": "Example Processor 3.0 GHz",
        "cores": 2,
        "cores_usable": 2,
        "governor": None,
        "memory_bytes": 8 << 30,
        "cgroup_cpu_max": "max 100000",
        "cgroup_memory_max": "max",
        "kernel": "6.8.0",
        "architecture": "x86_64",
        "python": "3.11.9",
        "packages": {"fedbench": "0.1.0", "numpy": "2.1.0", "uvloop": "0.21.0", "pandas": None},
        "commit": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "dirty": True,
        "before": {"load": [0.41, 0.52, 0.6], "stall_share": {"cpu": 0.012, "memory": 0.0, "io": None}},
        "after": {"load": [1.32, 0.9, 0.71], "stall_share": {"cpu": 0.055, "memory": 0.0, "io": None}},
    }


if __name__ == "__main__":  # python -m tests.fakes.results > tests/golden/report.md
    from harness.report.markdown import markdown

    sys.stdout.write(markdown(fake_run(), PLOT_PATHS, fake_material()))
