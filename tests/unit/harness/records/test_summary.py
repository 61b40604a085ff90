import pytest

from harness.records.schema import Observation, Status
from harness.records.summary import summarise


def observation(block: int, value: float | None = 1.0, **changes: object) -> Observation:
    known = {
        "block": block,
        "order": 1,
        "arm": "push",
        "stack": "push",
        "loop": "uvloop",
        "mode": "memory",
        "workload": "idle",
        "kind": "idle_federation",
        "params": {"clients": 3},
        "status": "ok",
        "metrics": {"cpu_cores": value},
    }
    return Observation(**{**known, **changes})


def test_a_cell_is_an_arm_under_a_workload_in_order_of_appearance() -> None:
    cells = summarise(
        [observation(1, arm="b"), observation(1), observation(2, arm="b"), observation(1, workload="ping")]
    )
    assert [(c.arm, c.workload) for c in cells] == [("b", "idle"), ("push", "idle"), ("push", "ping")]
    assert [c.metrics["cpu_cores"].n for c in cells] == [2, 1, 1]
    assert (cells[0].stack, cells[0].loop, cells[0].mode) == ("push", "uvloop", "memory")
    assert cells[0].params == {"clients": 3}
    assert summarise([]) == []


def test_five_blocks_bound_a_metric_by_the_smallest_and_the_largest() -> None:
    [cell] = summarise(observation(block, float(block)) for block in (5, 3, 1, 2, 4))
    metric = cell.metrics["cpu_cores"]
    assert (metric.value, metric.ci_low, metric.ci_high, metric.n) == (3.0, 1.0, 5.0, 5)
    assert (metric.unit, metric.direction, metric.reason) == ("cores", "lower", "")


def test_fewer_blocks_give_a_value_without_bounds() -> None:
    [cell] = summarise(observation(block, 2.0) for block in range(1, 5))
    metric = cell.metrics["cpu_cores"]
    assert (metric.value, metric.ci_low, metric.ci_high, metric.n) == (2.0, None, None, 4)


def test_what_is_missing_has_a_reason() -> None:
    missing = observation(1, None, metrics={"cpu_cores": None, "latency_p99_bound_s": None})
    [cell] = summarise([missing, observation(2), observation(3, metrics={})])
    assert cell.metrics["cpu_cores"].n == 1
    assert cell.metrics["cpu_cores"].reason == "could not be measured in 2 of 3 blocks"
    bound = cell.metrics["latency_p99_bound_s"]
    assert (bound.value, bound.ci_low, bound.ci_high, bound.n) == (None, None, None, 0)
    assert (bound.unit, bound.reason) == ("s", "fewer than 299 operations in 3 of 3 blocks")


def test_a_reason_of_the_cell_itself_comes_before_that_of_the_metric() -> None:
    said = [observation(block, None, missing={"cpu_cores": "others work, too"}) for block in (1, 2)]
    assert summarise(said)[0].metrics["cpu_cores"].reason == "others work, too in 2 of 2 blocks"
    assert summarise([*said, observation(3, None), observation(4)])[0].metrics["cpu_cores"].reason == (
        "others work, too; could not be measured in 3 of 4 blocks"
    )


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "unsupported"], "unsupported"),
        (["unsupported", "timeout"], "timeout"),
        (["failed", "timeout", "unsupported", "ok"], "failed"),
    ],
)
def test_the_status_is_the_worst(statuses: list[Status], worst: Status) -> None:
    [cell] = summarise(observation(i, status=status) for i, status in enumerate(statuses, 1))
    assert cell.status == worst


def test_texts_and_reasons_are_kept_once_each_in_order_of_blocks() -> None:
    [cell] = summarise(
        [
            observation(3, texts={"model_digest": "a"}, reasons=["late"]),
            observation(1, texts={"model_digest": "b"}, reasons=["torn", "late"]),
            observation(2, texts={"model_digest": "a"}),
        ]
    )
    assert cell.texts == {"model_digest": ["b", "a"]}
    assert cell.reasons == ["torn", "late"]
