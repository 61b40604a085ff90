"""The suites that come with the harness: what each decides, against what, and with which control."""

import pytest

from harness.records.metrics import METRICS
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

PROMISES = ("cpu-idle", "cpu-round", "latency-rpc", "latency-push", "memory", "logs")


@pytest.mark.parametrize("name", ["quick", "acceptance"])
def test_each_promise_is_decided_once_in_each_mode_against_the_legacy_as_it_was(name: str) -> None:
    suite = load_suite(name, catalogue(), stack_names())
    promised = sorted((c.promise, suite.arms[c.arm].mode) for c in suite.criteria if c.promise)
    assert promised == sorted((p, mode) for p in PROMISES for mode in ("memory", "process", "network"))
    legacy = [suite.arms[c.against] for c in suite.criteria if c.promise]
    for (
        arm
    ) in legacy:  # three ids, a look every 1 ms, 10 ms each, a warning each: the defaults in memory mode
        assert arm.stack == "polling"
        assert arm.settings == ({} if arm.mode == "memory" else {"poll_interval_s": 0.001})


@pytest.mark.parametrize("name", ["quick", "acceptance"])
def test_every_reduction_has_a_control(name: str) -> None:
    suite = load_suite(name, catalogue(), stack_names())
    controls = {arm.control_of: arm for arm in suite.arms.values() if arm.control_of}
    for c in suite.criteria:
        if c.kind == "reduction":
            base = c.workload.partition("@")[0]
            assert {w.partition("@")[0] for w in controls[c.arm].workloads} >= {base}, c.id


def test_acceptance_decides_what_quick_decides_and_more() -> None:
    quick, acceptance = (load_suite(name, catalogue(), stack_names()) for name in ("quick", "acceptance"))
    decided = {c.id: c for c in acceptance.criteria}
    for briefly in quick.criteria:
        assert decided[briefly.id].metric == briefly.metric
        assert decided[briefly.id].kind == briefly.kind
    assert acceptance.criteria[-1].kind == "frontier"
    swept = [arm.sweep_value for arm in acceptance.arms.values() if arm.name.startswith("polling@")]
    assert (min(swept), max(swept), len(swept)) == (0.001, 5.0, 6)


def test_quick_decides_nothing_that_is_not_promised() -> None:
    quick = load_suite("quick", catalogue(), stack_names())
    assert len(quick.criteria) <= 40
    assert not {c.metric for c in quick.criteria} & {
        "floor_ratio",
        "overhead_refs",
        "latency_hops",
        "start_s",
    }


def test_budgets_judges_no_time_of_one_machine() -> None:
    """What is decided is in units that carry over: references, hops, bytes, counts."""
    budgets = load_suite("budgets", catalogue(), stack_names())
    units = {METRICS[c.metric].unit for c in budgets.criteria}
    assert units == {"refs", "hops", "B", "1/s", ""}
    for c in budgets.criteria:
        if c.metric == "overhead_refs":
            assert budgets.workloads[c.workload].params["floor"], c.id
