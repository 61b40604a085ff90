from dataclasses import replace

from harness.records.schema import Disturbance, Observation
from harness.report.firsts import FirstResults, Watched, watched
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

IDLE = Watched("CPU idle, memory mode", ("push", "idle"), ("polling", "idle"), "cpu_cores")


def seen(arm, value, block=1, workload="idle", status="ok", **more):
    return Observation(
        block=block, order=1, arm=arm, stack=arm, loop="uvloop", mode="memory", workload=workload,
        kind="idle_federation", params={}, status=status, metrics={"cpu_cores": value}, **more,
    )  # fmt: skip


def test_a_promise_is_told_once_when_both_sides_of_a_block_are_there():
    firsts = FirstResults([IDLE])
    assert firsts.observed(seen("polling", 0.5)) == []
    assert firsts.observed(seen("push", 0.1, workload="other")) == []
    assert firsts.observed(seen("push", 0.001)) == [
        "first result: CPU idle, memory mode: 99.80 % less in block 1, not yet decided"
    ]
    assert firsts.observed(seen("push", 0.002)) == []
    assert firsts.observed(seen("polling", 0.5, block=2)) == []


def test_sides_of_different_blocks_are_not_compared():
    firsts = FirstResults([IDLE])
    assert firsts.observed(seen("push", 0.001)) == []
    assert firsts.observed(seen("polling", 0.5, block=2)) == []
    (line,) = firsts.observed(seen("push", 0.25, block=2))
    assert "50.0 % less in block 2" in line


def test_what_failed_was_disturbed_or_is_missing_tells_nothing():
    firsts = FirstResults([IDLE])
    assert firsts.observed(seen("polling", 0.5)) == []
    assert firsts.observed(seen("push", 0.001, status="failed")) == []
    assert firsts.observed(seen("push", 0.001, disturbance=Disturbance(void=["another used a core"]))) == []
    assert firsts.observed(seen("push", None)) == []
    assert len(firsts.observed(seen("push", 0.001, disturbance=Disturbance()))) == 1


def test_polling_that_measured_zero_is_nothing_to_compare_with():
    firsts = FirstResults([IDLE])
    assert firsts.observed(seen("polling", 0.0)) == []
    assert firsts.observed(seen("push", 0.001)) == []


def test_a_suite_is_watched_for_one_reduction_of_each_promise_and_mode():
    suite = load_suite("quick", catalogue(), stack_names())
    reductions = [c for c in suite.criteria if c.kind == "reduction" and c.arm == "push"][:3]
    promising = [replace(c, promise="cpu-idle") for c in reductions]
    found = watched(replace(suite, criteria=tuple(promising)))
    assert [w.title for w in found] == ["CPU idle, memory mode"]
    first = reductions[0]
    assert found[0].arm == (first.arm, first.workload)
    assert found[0].against == (first.against, first.other_workload)
    assert watched(replace(suite, criteria=())) == []
