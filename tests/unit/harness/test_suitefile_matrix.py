"""The suites that run every workload: which kinds, in which modes."""

from itertools import product

from fedbench.ids import MODES
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

PRESSED = {"rpc_payload", "fanin_burst", "straggler", "slow_consumer", "soak", "overload"}
"""Kinds that are in no suite that decides about speed."""


def test_the_matrix_runs_every_mode_and_decides_nothing_about_speed() -> None:
    suite = load_suite("matrix", catalogue(), stack_names())
    ran = {
        name: {suite.workloads[workload].kind for workload in arm.workloads}
        for name, arm in suite.arms.items()
    }
    assert {(arm.stack, arm.mode) for arm in suite.arms.values()} == set(product(("push", "polling"), MODES))
    for name in ("push", "push_process", "push_network"):
        assert ran[name] >= PRESSED
        loads = {suite.workloads[workload].params.get("load") for workload in suite.arms[name].workloads}
        assert loads >= {0.0, 0.1, 0.5, 0.8}
    assert set().union(*(arm.workloads for arm in suite.arms.values())) == set(suite.workloads)
    assert {criterion.kind for criterion in suite.criteria} == {"at_least"}


def test_half_of_capacity_is_served_only_if_nearly_all_calls_are() -> None:
    """One call in fifty would be goodput, too."""
    suite = load_suite("matrix", catalogue(), stack_names())
    loads = [criterion for criterion in suite.criteria if criterion.workload == "overload"]
    assert {(criterion.metric, criterion.target) for criterion in loads} == {("knee_share", 0.5)}
    assert {criterion.arm for criterion in loads} == {"push", "push_process", "push_network"}


def test_the_smoke_suite_runs_every_kind_that_comes_under_pressure() -> None:
    suite = load_suite("smoke", catalogue(), stack_names())
    assert {spec.kind for spec in suite.workloads.values()} >= PRESSED
    assert any(spec.params.get("load") for spec in suite.workloads.values())
