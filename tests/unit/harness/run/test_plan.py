from collections import Counter
from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.run.plan import TIMEOUT_FLOOR_S, TREE_S, ArmRun, expected_s, limit_s, longest_s, plan
from harness.stacks.registry import stack_names
from harness.suite import Arm, Suite, WorkloadSpec
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import catalogue, create_workload

WORKLOADS = {
    "ping": WorkloadSpec("ping", "rpc_ping", {"duration_s": 1.0}),
    "idle": WorkloadSpec("idle", "idle_federation", {"idle_s": 2.0}),
    "once": WorkloadSpec("once", "addressing", {}, blocks=1),
}


def suite(tree: str = "arm", blocks: int = 4, **limits: int) -> Suite:
    arms = {
        name: Arm(name, "push", "memory", "asyncio", {}, ("ping", "idle", "once"), blocks=limits.get(name))
        for name in ("a", "b", "c", "d", "e")
    }
    return Suite("s", "S", blocks, tree, arms, WORKLOADS, ())


def shape(runs: list[ArmRun]) -> list[tuple[int, int, str, tuple[str, ...]]]:
    return [(r.block, r.order, r.arm.name, tuple(w.name for w in r.workloads)) for r in runs]


def orders(runs: list[ArmRun]) -> list[list[str]]:
    return [[r.arm.name for r in block] for _, block in groupby(runs, key=lambda r: r.block)]


def test_every_arm_runs_once_a_block() -> None:
    runs = plan(suite(), 0)
    assert [sorted(names) for names in orders(runs)] == [["a", "b", "c", "d", "e"]] * 4
    assert [r.block for r in runs] == sorted(r.block for r in runs)
    for _, block in groupby(runs, key=lambda r: r.block):
        assert [r.order for r in block] == [1, 2, 3, 4, 5]


def test_the_order_is_drawn_anew_for_each_block() -> None:
    assert len({tuple(names) for names in orders(plan(suite(blocks=10), 0))}) > 5


@given(st.integers(0, 2**32), st.sampled_from(["arm", "cell"]))
def test_a_seed_gives_its_order_again(seed: int, tree: str) -> None:
    assert plan(suite(tree), seed) == plan(suite(tree), seed)
    assert sorted(shape(plan(suite(tree), seed)))[0][0] == 1


def test_another_seed_gives_another_order() -> None:
    assert len({str(orders(plan(suite(), seed))) for seed in range(10)}) > 5


def test_no_arm_has_a_place_of_its_own() -> None:
    """Over many blocks every arm is first about as often as any other."""
    first = Counter(names[0] for names in orders(plan(suite(blocks=1000), 1)))
    assert set(first) == {"a", "b", "c", "d", "e"}
    assert all(150 < count < 250 for count in first.values())


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    assert plan(suite(blocks=5), 3)[: len(plan(suite(blocks=3), 3))] == plan(suite(blocks=3), 3)


def test_an_arm_runs_its_workloads_in_its_order_in_one_tree() -> None:
    mixed = suite()
    mixed.arms["a"] = replace(mixed.arms["a"], workloads=("idle", "ping"))
    [run] = [r for r in plan(mixed, 0) if r.block == 2 and r.arm.name == "a"]
    assert [w.name for w in run.workloads] == ["idle", "ping"]
    assert run.title == "block 2 a"


@pytest.mark.parametrize("tree", ["arm", "cell"])
def test_workloads_and_arms_leave_after_their_last_block(tree: str) -> None:
    runs = plan(suite(tree, b=2), 0)
    assert {r.block for r in runs for w in r.workloads if w.name == "once"} == {1}
    assert {r.block for r in runs for w in r.workloads if w.name == "ping"} == {1, 2, 3, 4}
    assert {r.block for r in runs if r.arm.name == "b"} == {1, 2}


def test_what_has_no_workload_left_is_not_run() -> None:
    limited = suite()
    limited.arms["a"] = replace(limited.arms["a"], workloads=("once",))
    assert {r.block for r in plan(limited, 0) if r.arm.name == "a"} == {1}
    assert plan(replace(limited, arms={}), 0) == []


def test_a_tree_for_each_cell_keeps_the_arms_of_a_workload_together() -> None:
    runs = plan(suite("cell"), 0)
    assert all(len(r.workloads) == 1 for r in runs)
    for block, group in groupby(runs, key=lambda r: r.block):
        in_block = list(group)
        assert [r.order for r in in_block] == list(range(1, len(in_block) + 1))
        stretches = [name for name, _ in groupby(r.workloads[0].name for r in in_block)]
        assert sorted(stretches) == (["idle", "once", "ping"] if block == 1 else ["idle", "ping"])
        for name in stretches:
            arms = [r.arm.name for r in in_block if r.workloads[0].name == name]
            assert sorted(arms) == ["a", "b", "c", "d", "e"]


@given(st.integers(0, 2**32))
def test_arms_of_one_mode_run_together_and_those_only_shown_run_last(seed: int) -> None:
    kinds = {
        "push": Arm("push", "push", "memory", "asyncio", {}, ("ping",)),
        "push_far": Arm("push_far", "push", "network", "asyncio", {}, ("ping",)),
        "shown": Arm("shown", "polling", "memory", "asyncio", {}, ("ping",), blocks=1),
        "again": Arm("again", "push", "memory", "asyncio", {}, ("ping",), control_of="push", blocks=1),
        "polling_far": Arm("polling_far", "polling", "network", "asyncio", {}, ("ping",)),
        "polling": Arm("polling", "polling", "memory", "asyncio", {}, ("ping",)),
    }
    (names,) = orders(plan(Suite("s", "S", 1, "arm", kinds, WORKLOADS, ()), seed))
    assert names[-1] == "shown"
    modes = [mode for mode, _ in groupby(kinds[name].mode for name in names[:-1])]
    assert sorted(modes) == ["memory", "network"]


def test_both_trees_measure_the_same_cells() -> None:
    def cells(tree: str) -> Counter[tuple[int, str, str]]:
        return Counter((r.block, r.arm.name, w.name) for r in plan(suite(tree), 0) for w in r.workloads)

    assert cells("arm") == cells("cell")
    assert set(cells("arm").values()) == {1}


@pytest.mark.parametrize("stack", ["push", "polling"])
def test_a_plan_takes_as_long_as_its_workloads_and_trees(stack: str) -> None:
    of_stack = suite()
    of_stack.arms.update({name: replace(arm, stack=stack) for name, arm in of_stack.arms.items()})
    [first, *_] = runs = plan(of_stack, 0)
    poll_s = 0.001 if stack == "polling" else 0.0
    seconds = [create_workload(w.kind, w.params).expected_s(poll_s=poll_s) for w in first.workloads]
    assert first.expected_s() == pytest.approx(TREE_S + sum(seconds))
    assert first.expected_s() > TREE_S + 2.0  # the idle time alone
    assert expected_s(runs) == pytest.approx(sum(run.expected_s() for run in runs))
    assert expected_s([]) == 0


def test_the_timeout_of_a_workload_is_its_own_or_far_beyond_what_is_expected() -> None:
    assert limit_s(replace(WORKLOADS["idle"], timeout_s=1.5)) == 1.5
    expected = create_workload("idle_federation", {"idle_s": 2.0}).expected_s(poll_s=0.010)
    assert limit_s(WORKLOADS["idle"]) > TIMEOUT_FLOOR_S + 4 * expected
    drained = replace(WORKLOADS["once"], params={"drain_s": 7.0})
    assert limit_s(drained) == limit_s(WORKLOADS["once"]) + 7.0


def test_a_plan_takes_at_most_the_timeouts_of_its_cells() -> None:
    runs = plan(suite(blocks=2), 0)
    cells = [workload for run in runs for workload in run.workloads]
    assert longest_s(runs) == pytest.approx(TREE_S * len(runs) + sum(map(limit_s, cells)))
    assert longest_s(runs) > expected_s(runs)


def test_a_cell_is_not_expected_to_outlast_its_timeout() -> None:
    limited = suite().limit(0.1)
    first = plan(limited, 0)[0]
    assert first.expected_s() <= TREE_S + 0.1 * len(first.workloads)


@pytest.mark.parametrize("name", suite_names())
def test_a_shipped_suite_can_be_planned(name: str) -> None:
    shipped = load_suite(name, catalogue(), stack_names())
    runs = plan(shipped, 0)
    assert {r.arm.name for r in runs if r.block == 1} == set(shipped.arms)
    assert max(r.block for r in runs) == shipped.first_look
    assert all(run.expected_s() > TREE_S for run in runs)
