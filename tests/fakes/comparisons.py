"""Made-up comparisons with every verdict, whatever the gate decides."""

from __future__ import annotations

from typing import Any

from harness.records.metrics import METRICS
from harness.records.schema import Change, ComparisonRecord, Rates

RATES = Rates(
    procedure="paired",
    machine="Example Processor, 2 cores, x86_64, Python 3.11",
    measured_utc="2025-01-01T00:00:00Z",
    comparisons=300,
    alarms=0,
    alarms_upper=0.00994,
    injected=300,
    detected=290,
    detected_lower=0.9438,
    detected_usual=210,
    blocks=10,
)


def fake_change(metric: str = "latency_p50_s", verdict: str = "regressed", **changes: Any) -> Change:
    """Return a change of the arm ``push`` under ``rpc_ping``: 100 µs became 123 µs."""
    known = {
        "arm": "push",
        "workload": "rpc_ping",
        "unit": METRICS[metric].unit,
        "direction": METRICS[metric].direction,
        "base": 100e-6,
        "candidate": 123e-6,
        "ratio": 1.23,
        "ci_low": 1.19,
        "ci_high": 1.27,
        "n": 10,
        "margin": 0.1,
        "p": 0.0021,
        "reason": "beyond the margin, p = 0.0021 (Holm)",
    }
    made = {**known, **changes}
    return Change(metric=metric, verdict=verdict, **made)


CHANGES = [
    fake_change("cpu_s_per_op", "unchanged", ratio=1.01, ci_low=0.99, ci_high=1.03, p=1.0,
                reason="both bounds lie within the margin"),
    fake_change("wakeups_per_op", "inconclusive", base=3.1, candidate=3.5, ratio=1.13, ci_low=0.9,
                ci_high=1.4, p=0.2, reason="the interval of 10 samples spans the margin"),
    fake_change("latency_p99_s", "regressed", candidate=190e-6, ratio=1.9, ci_low=1.7, ci_high=2.1,
                margin=0.25, p=0.001),
    fake_change("log_warnings_per_op", "contaminated", workload="fedavg_round", base=0.0, candidate=0.25,
                ratio=None, ci_low=None, ci_high=None, margin=0.001, p=0.01,
                reason="the same code lay a factor 1.30 apart: that could explain it"),
    fake_change("memory_peak_bytes", "improved", workload="memory_round", base=64.0 * 2**20,
                candidate=48.0 * 2**20, ratio=0.75, ci_low=0.74, ci_high=0.76, margin=0.05, p=0.001),
    fake_change(),
]  # fmt: skip


def fake_comparison(**changes: Any) -> ComparisonRecord:
    """Return a comparison of two revisions that regressed."""
    known = {
        "kind": "ab",
        "base": "main",
        "candidate": "0a1b2c3",
        "command": "fedbench ab main 0a1b2c3 --blocks 10",
        "created_utc": "2025-01-02T03:04:05Z",
        "paired": True,
        "environment": {"cpu_model": "Example Processor 3.0 GHz", "cores": 2, "commit": "0a1b2c3d"},
        "changes": CHANGES,
        "not_compared": ["push broadcast: only the candidate has it"],
        "warnings": ["the machine was busy: load 3.1 on 2 cores"],
        "rates": RATES,
        "verdict": "regressed",
        "reason": "2 of 6 metrics regressed, first push rpc_ping latency_p99_s",
        "exit_code": 1,
    }
    return ComparisonRecord(**{**known, **changes})


HOSTILE = "a|b `c` <script>alert(1)</script>\n::error::x % \x1b[31m [x](javascript:1) --> \ufffe"
"""Text that would break a table, a page, a command, a terminal, a marker or XML."""


def hostile_comparison() -> ComparisonRecord:
    """Return a comparison all of whose texts are hostile."""
    change = fake_change(arm=HOSTILE, workload=HOSTILE, reason=HOSTILE)
    texts = dict.fromkeys(("base", "candidate", "command", "created_utc", "verdict", "reason"), HOSTILE)
    return fake_comparison(
        changes=[change],
        not_compared=[HOSTILE],
        warnings=[HOSTILE],
        environment={HOSTILE: HOSTILE, "commit": HOSTILE},
        **texts,
    )
