import math

import msgspec
import pytest

from harness.acceptance.control import control
from harness.acceptance.samples import Samples
from harness.records.schema import CriterionRecord
from tests.unit.harness.acceptance.cells import BUSY, cell, controls, criterion, judged


def found(base: list[float | None], again: list[float | None]) -> object:
    samples = Samples([*cell("push", base), *cell("push_again", again)])
    return control(samples, "push", "push_again", "idle", "cpu_cores")


@pytest.mark.parametrize(
    ("base", "again", "spread", "centre"),
    [
        ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], math.log(2), math.log(2)),
        ([1.0, 1.0, 1.0], [2.0, 0.5, 1.0], math.log(2), 0.0),  # noise has its centre at none
        ([0.0, 0.0], [0.0, 0.0], 0.0, 0.0),
        ([0.0, 1.0], [1.0, 1.0], None, None),
        ([], [], None, None),
    ],
)
def test_a_control_is_a_centre_with_the_largest_distance_beside_it(
    base: list[float | None], again: list[float | None], spread: float | None, centre: float | None
) -> None:
    made = found(base, again)
    assert (made.workload, made.metric, made.arm, made.n) == ("idle", "cpu_cores", "push", len(base))
    assert made.spread == (None if spread is None else pytest.approx(spread))
    assert made.centre == (None if centre is None else pytest.approx(centre))


def test_one_bad_block_moves_no_control() -> None:
    assert found([1.0] * 8, [1.0] * 7 + [9.0]).centre == 0.0


def verdict(
    kind: str, target: float, value: float, centre: float | None, shift: float = 0.0
) -> CriterionRecord:
    cells = cell("polling", [100.0] * 12), cell("push", [value] * 12)
    return judged(criterion(kind, target), *cells, known=controls(centre, shift=shift))


@pytest.mark.parametrize(
    ("kind", "target", "value"), [("reduction", 0.5, 25.0), ("ratio", 0.5, 25.0), ("limit", 50.0, 25.0)]
)
def test_a_pass_that_the_control_could_overturn_is_contaminated(
    kind: str, target: float, value: float
) -> None:
    for sign in (1, -1):  # whichever of the two runs measured more
        assert verdict(kind, target, value, sign * (math.log(2) - 1e-9)).verdict == "pass"
        record = verdict(kind, target, value, sign * (math.log(2) + 1e-9))
        assert record.verdict == "contaminated"
        assert record.reason.startswith("two runs of push lie a factor 2.00 apart in cpu_cores (6 blocks)")


@pytest.mark.parametrize(
    ("kind", "target", "value"), [("reduction", 0.5, 75.0), ("ratio", 0.5, 75.0), ("limit", 50.0, 75.0)]
)
def test_a_control_saves_a_fail_that_it_could_explain(kind: str, target: float, value: float) -> None:
    assert verdict(kind, target, value, math.log(1.49)).verdict == "fail"
    record = verdict(kind, target, value, math.log(1.51))
    assert record.verdict == "contaminated"
    assert "could overturn the fail" in record.reason


def test_a_control_with_zeros_counts_by_its_difference() -> None:
    assert verdict("limit", 5.0, 4.0, None, shift=0.9).verdict == "pass"
    assert verdict("limit", 5.0, 4.0, None, shift=1.1).verdict == "contaminated"
    assert verdict("reduction", 0.5, 25.0, None, shift=24.0).verdict == "pass"
    assert verdict("reduction", 0.5, 25.0, None, shift=26.0).verdict == "contaminated"
    assert "measured zero cpu_cores" in verdict("ratio", 0.5, 25.0, None, shift=26.0).reason


def test_a_control_of_another_metric_or_without_pairs_overturns_nothing() -> None:
    other = controls(10.0, metric="latency_p50_s")
    assert judged(criterion("limit", 1.0), cell("push", [1.0] * 6), known=other).verdict == "pass"
    empty = {key: msgspec.structs.replace(known, n=0) for key, known in controls(9.0).items()}
    assert judged(criterion("limit", 1.0), cell("push", [1.0] * 6), known=empty).verdict == "pass"


def test_disturbed_blocks_are_no_pairs() -> None:
    samples = Samples([*cell("push", [1.0] * 3), *cell("push_again", [9.0] * 3, disturbance=BUSY)])
    assert control(samples, "push", "push_again", "idle", "cpu_cores").n == 0
