from harness.acceptance.samples import Samples
from harness.records.schema import Observation
from tests.unit.harness.acceptance.cells import BUSY


def observation(arm: str, block: int, value: float | None = 1.0, **changes: object) -> Observation:
    known = {
        "block": block,
        "order": 1,
        "arm": arm,
        "stack": "push",
        "loop": "asyncio",
        "mode": "memory",
        "workload": "idle",
        "kind": "idle_federation",
        "params": {},
        "status": "ok",
        "metrics": {"cpu_cores": value},
    }
    return Observation(**{**known, **changes})


def series(arm: str, values: list[float | None]) -> list[Observation]:
    return [observation(arm, block, value) for block, value in enumerate(values, 1)]


def test_a_cell_is_in_order_of_blocks_whatever_the_order_of_arrival() -> None:
    samples = Samples([observation("push", block) for block in (3, 1, 2)])
    assert [o.block for o in samples.cell("push", "idle")] == [1, 2, 3]
    assert samples.cell("push", "ping") == samples.cell("polling", "idle") == []


def test_arms_are_those_that_ran_the_workload() -> None:
    samples = Samples([observation("b", 1), observation("a", 1), observation("c", 1, workload="ping")])
    assert samples.arms("idle") == ["b", "a"]
    assert samples.arms("nothing") == []


def test_values_leave_out_what_did_not_end_well_or_could_not_be_measured() -> None:
    samples = Samples(
        [
            observation("push", 1, 0.0),
            observation("push", 2, None),
            observation("push", 3, 3.0, status="failed"),
            observation("push", 4, metrics={}),
            observation("push", 5, 5.0),
        ]
    )
    assert samples.values("push", "idle", "cpu_cores") == {1: 0.0, 5: 5.0}


def test_pairs_are_the_blocks_that_both_sides_have() -> None:
    polling = [observation("polling", block, 10.0 * block) for block in (4, 2, 1)]
    samples = Samples([*series("push", [1.0, 2.0, 3.0]), *polling])
    assert samples.pairs(("polling", "idle"), ("push", "idle"), "cpu_cores") == ([10.0, 20.0], [1.0, 2.0])


def test_pairs_may_lie_under_different_workloads() -> None:
    samples = Samples([observation("push", 1, 6.0), observation("floors", 1, 2.0, workload="hop")])
    assert samples.pairs(("floors", "hop"), ("push", "idle"), "cpu_cores") == ([2.0], [6.0])


def test_of_two_attempts_the_later_counts_and_disturbed_ones_are_no_samples() -> None:
    void = observation("push", 1, 9.0, disturbance=BUSY)
    samples = Samples(
        [observation("push", 1, 1.0, attempt=2), void, observation("push", 2, 3.0, disturbance=BUSY)]
    )
    assert samples.values("push", "idle", "cpu_cores") == {1: 1.0}
    assert len(samples.cell("push", "idle")) == 2
    assert samples.disturbed([("push", "idle"), ("polling", "idle")]) == [
        "push idle: 1 of 2 blocks disturbed by make (42) 0.90 cores"
    ]
