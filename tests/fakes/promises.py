"""A made-up run with thirty criteria: six promises in three modes, what stands beside them, and limits.

Made-up numbers for tests of reports alone; no document shows them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from harness.records.schema import Beside, CriterionRecord, RunRecord, Verdict
from tests.fakes.results import bare_run, fake_run

MODES = ("memory", "process", "network")
TARGETS = {
    "cpu-idle": 0.8, "cpu-round": 0.6, "latency-rpc": 0.9, "latency-push": 0.9, "memory": 0.5, "logs": 0.95,
}  # fmt: skip
SAVED: dict[str, tuple[float, float, float]] = {
    "cpu-idle": (0.9992, 0.9959, 0.9874),
    "cpu-round": (0.788, 0.851, 0.704),
    "latency-rpc": (0.9972, 0.967, 0.978),
    "latency-push": (0.9981, 0.953, 0.962),
    "memory": (0.593, 0.487, 0.602),
    "logs": (1.0, 1.0, 1.0),
}
_UNDECIDED: dict[tuple[str, str], tuple[Verdict, str]] = {
    ("memory", "process"): (
        "fail",
        "48.7 % less [47.9, 49.6] is below the target of 50 %, and a second batch of 6 blocks agrees: "
        "look at memory_peak_bytes of push_process",
    ),
    ("cpu-round", "network"): (
        "inconclusive",
        "70.4 % less [58.1, 77.0] spans the target of 60 % after 24 blocks: run it with --rigorous",
    ),
    ("latency-push", "process"): (
        "contaminated",
        "4 of 6 blocks were disturbed in both attempts: end cc1plus, or run it again when it is done",
    ),
}
_BESIDE = {
    "cpu-idle": ("without warnings", "with one id", "at 10 ms", "at 100 ms"),
    "cpu-round": ("with zero compute", "without warnings"),
    "memory": ("at 4 KiB", "at 1 MiB", "at 64 MiB"),
}
_NOTES = {"memory": "the legacy copied messages in memory mode: deep copies, as in its published source"}
_LIMITS = (
    ("rpc-p99", "99 % of calls end within 10 ms", "s", 0.01, 119e-6),
    ("wakeups-idle", "an idle client wakes at most once in 10 s", "1/s", 0.1, 0.02),
    ("warnings-round", "a round without faults warns of nothing", "1/op", 0.0, 0.0),
)


@cache
def promise_run() -> RunRecord:
    """Return the run: 18 promises, 9 limits, and 3 about correctness; cells and controls as of the other."""
    criteria = [_promise(promise, mode) for mode in MODES for promise in TARGETS]
    criteria += [_limit(mode, *limit) for mode in MODES for limit in _LIMITS]
    criteria += [_equal(), *(_clients(mode) for mode in MODES[1:])]
    return msgspec.structs.replace(
        fake_run(),
        criteria=criteria,
        reason="1 contaminated, 1 fail, 1 inconclusive, 27 pass; first failed: process-memory",
    )


def kept_run(**changes: Any) -> RunRecord:
    """Return a run whose criteria all pass and in which nothing else was kept, with ``changes``."""
    passed = [c for c in promise_run().criteria if c.verdict == "pass"]
    return bare_run(**{"criteria": passed, "verdict": "pass", "reason": "27 pass", "exit_code": 0, **changes})


def _promise(promise: str, mode: str) -> CriterionRecord:
    value = SAVED[promise][MODES.index(mode)]
    verdict, reason = _UNDECIDED.get((promise, mode), ("pass", ""))
    width = 0.12 if verdict == "inconclusive" else 0.02
    prefix = "" if mode == "memory" else f"{mode}-"
    rest = 1 - value
    return _record(
        id=f"{prefix}{promise}",
        title=f"{promise.replace('-', ' ')} falls by {TARGETS[promise]:.0%}".replace("%", " %"),
        kind="reduction",
        mode=mode,
        metric="cpu_cores",
        arm=f"push_{mode}",
        against=f"polling_{mode}",
        unit="share saved",
        target=TARGETS[promise],
        value=value,
        ci_low=1 - rest * (1 + 6 * width),
        ci_high=1 - rest * (1 - 3 * width),
        n=24 if verdict == "inconclusive" else 6,
        verdict=verdict,
        reason=reason,
        promise=promise,
        note=_NOTES.get(promise, "") if mode == "memory" else "",
        beside=[_beside(label, value, step) for step, label in enumerate(_BESIDE.get(promise, ()))],
        void=["push_process push_processes: 4 of 6 blocks, 2 attempts: cc1plus (4242) 0.98 cores"]
        if verdict == "contaminated"
        else [],
    )


def _beside(label: str, value: float, step: int) -> Beside:
    if label == "at 100 ms":
        return Beside(label=label, value=None, ci_low=None, ci_high=None, n=0, reason="not measured in quick")
    less = value - 0.04 * (step + 1)
    return Beside(label=label, value=less, ci_low=less - 0.01, ci_high=less + 0.01, n=6)


def _limit(mode: str, name: str, title: str, unit: str, target: float, value: float) -> CriterionRecord:
    prefix = "" if mode == "memory" else f"{mode}-"
    return _record(
        id=f"{prefix}{name}", title=title, kind="limit", mode=mode, metric=name, arm=f"push_{mode}",
        unit=unit, target=target, value=value, ci_low=0.94 * value, ci_high=1.26 * value,
    )  # fmt: skip


def _equal() -> CriterionRecord:
    return _record(
        id="same-model", title="both architectures train the same model bit for bit in all modes",
        kind="equal", mode="memory+process+network", metric="model_digest", unit="distinct", target=1.0,
        value=1.0, ci_low=1.0, ci_high=1.0, n=1, reason="the same in all 6 observations",
    )  # fmt: skip


def _clients(mode: str) -> CriterionRecord:
    return _record(
        id=f"{mode}-clients", title="200 clients each get their own messages and no others", kind="at_least",
        mode=mode, metric="clients", arm=f"push_{mode}", unit="clients", target=200.0, value=200.0,
        ci_low=200.0, ci_high=200.0, n=1,
    )  # fmt: skip


def _record(**given: Any) -> CriterionRecord:
    usual: dict[str, Any] = {
        "workload": "idle_federation", "arm": "", "against": "", "against_workload": "",
        "n": 6, "verdict": "pass",
    }  # fmt: skip
    return CriterionRecord(**{**usual, **given})
