import msgspec
import pytest

from harness.records.metrics import METRICS
from harness.records.schema import CellRecord, MetricSummary
from harness.report.losses import PER_OPERATION, compared, failures, losses
from tests.fakes.results import fake_run


def summary(value, low=None, high=None, *, direction="lower"):
    return MetricSummary(unit="s", direction=direction, value=value, ci_low=low, ci_high=high, n=5)


def cell(arm, stack, metrics, *, status="ok", workload="w"):
    return CellRecord(
        arm=arm, stack=stack, loop="uvloop", mode="memory", workload=workload, params={}, status=status,
        metrics=metrics, texts={}, reasons=[],
    )  # fmt: skip


def found(ours, theirs, metric="round_s"):
    return losses([cell("push", "push", {metric: ours}), cell("polling", "polling", {metric: theirs})])


def test_a_worse_value_is_a_loss_with_its_factor():
    (loss,) = found(summary(3.0, 2.9, 3.1), summary(2.0, 1.9, 2.1))
    assert (loss.workload, loss.metric, loss.push_arm, loss.polling_arm) == (
        "w",
        "round_s",
        "push",
        "polling",
    )
    assert loss.factor == pytest.approx(1.5)
    assert loss.apart is True


def test_where_higher_is_better_the_smaller_loses():
    ours, theirs = (summary(v, v, v, direction="higher") for v in (0.8, 0.9))
    (loss,) = found(ours, theirs)
    assert loss.factor == pytest.approx(0.9 / 0.8)
    assert loss.apart is True
    assert found(theirs, ours) == []


def test_better_equal_or_unmeasured_is_no_loss():
    assert found(summary(1.0), summary(2.0)) == []
    assert found(summary(2.0), summary(2.0)) == []
    assert found(summary(None), summary(2.0)) == []
    assert found(summary(2.0), summary(None)) == []


def test_a_loss_to_zero_has_no_factor():
    (loss,) = found(summary(0.1, 0.1, 0.1), summary(0.0, 0.0, 0.0))
    assert loss.factor is None
    assert loss.apart is True


def test_intervals_that_overlap_or_are_missing_leave_it_open():
    assert found(summary(3.0, 1.0, 4.0), summary(2.0, 1.5, 2.5))[0].apart is False
    assert found(summary(3.0), summary(2.0, 1.5, 2.5))[0].apart is None


def test_the_load_generators_lag_is_not_pushs():
    assert found(summary(3.0), summary(2.0), metric="lag_p99_s") == []


def test_only_the_same_workload_and_other_stacks_are_compared():
    cells = [
        cell("push", "push", {"round_s": summary(9.0)}),
        cell("push_again", "push", {"round_s": summary(1.0)}),
        cell("floors", "floors", {"round_s": summary(1.0)}),
        cell("polling", "polling", {"round_s": summary(1.0)}, workload="other"),
    ]
    assert losses(cells) == []
    assert compared(cells) == 0


def test_what_is_beyond_chance_comes_first_then_the_largest_factor():
    cells = [
        cell("push", "push", {"round_s": summary(9.0), "cpu_cores": summary(2.0, 2.0, 2.0)}),
        cell("polling", "polling", {"round_s": summary(1.0), "cpu_cores": summary(1.0, 1.0, 1.0)}),
        cell("polling@1", "polling", {"round_s": summary(1.0), "cpu_cores": summary(0.5, 0.5, 0.5)}),
    ]
    order = [(loss.metric, loss.polling_arm) for loss in losses(cells)]
    assert order[:2] == [("cpu_cores", "polling@1"), ("cpu_cores", "polling")]
    assert {metric for metric, _ in order[2:]} == {"round_s"}


def test_what_push_did_not_manage_is_named():
    cells = [
        cell("push", "push", {}, status="timeout"),
        cell("push_again", "push", {}),
        cell("polling", "polling", {}),
        cell("polling@1", "polling", {}, status="failed"),
    ]
    assert failures(cells) == ["push w: timeout, where polling ended well"]


def test_every_pair_of_values_counts_once():
    run = fake_run()
    all_pairs = compared(run.cells)
    assert 0 < len(losses(run.cells)) < all_pairs
    swapped = [
        msgspec.structs.replace(c, stack={"push": "polling", "polling": "push"}.get(c.stack, c.stack))
        for c in run.cells
    ]
    assert compared(swapped) == all_pairs
    assert len(losses(run.cells)) + len(losses(swapped)) <= all_pairs


def test_a_phase_of_a_round_is_no_loss_by_itself():
    assert found(summary(3.0), summary(2.0), "round_collect_s") == []
    assert found(summary(3.0), summary(2.0), "lag_p99_s") == []


def test_what_is_measured_per_operation_is_not_compared_per_second():
    """Who makes more calls in a second uses more of the processor in it."""
    ours = {"cpu_cores": summary(2.0), "cpu_s_per_op": summary(1.0)}
    theirs = {"cpu_cores": summary(1.0), "cpu_s_per_op": summary(2.0)}
    pair = [cell("push", "push", ours), cell("polling", "polling", theirs)]
    assert (losses(pair), compared(pair)) == ([], 1)
    idle = [cell("push", "push", {"cpu_cores": summary(2.0)}), cell("polling", "polling", theirs)]
    assert [loss.metric for loss in losses(idle)] == ["cpu_cores"]
    assert set(PER_OPERATION) | set(PER_OPERATION.values()) <= set(METRICS)
