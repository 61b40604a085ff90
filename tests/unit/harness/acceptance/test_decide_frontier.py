import math
from collections.abc import Mapping, Sequence

import pytest

from harness.records.schema import CriterionRecord
from tests.unit.harness.acceptance.cells import cell, controls, criterion, judged


def frontier(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]], centre: float | None = 0.0
) -> CriterionRecord:
    """Decide push, which measures 10 in both metrics, against points of a sweep."""
    what = criterion("frontier", workload2="notify", metric2="latency_p50_s")
    cells = [cell("push", [10.0] * 12), cell("push", [10.0] * 12, "notify", "latency_p50_s")]
    for name, (cpu, latency) in points.items():
        cells.append(cell(name, cpu))
        cells.append(cell(name, latency, "notify", "latency_p50_s"))
    return judged(what, *cells, known=controls(centre, "notify", "latency_p50_s"))


def test_the_frontier_is_passed_below_every_point_in_both_metrics() -> None:
    record = frontier({"polling@1": ([40.0] * 12, [20.0] * 12), "polling@2": ([11.0] * 12, [80.0] * 12)})
    assert record.verdict == "pass"
    assert record.value == pytest.approx(1 - 10 / 11)
    assert record.reason == "closest: cpu_cores of polling@2"


@pytest.mark.parametrize(("cpu", "latency"), [(9.0, 80.0), (80.0, 9.0), (10.0, 80.0)])
def test_one_point_that_is_not_beaten_fails_the_frontier(cpu: float, latency: float) -> None:
    record = frontier({"polling@1": ([40.0] * 12, [20.0] * 12), "polling@2": ([cpu] * 12, [latency] * 12)})
    assert record.verdict == "fail"
    assert record.reason.endswith(f"closest: {'cpu_cores' if cpu < 20 else 'latency_p50_s'} of polling@2")


def test_a_point_missed_for_certain_decides_before_one_less_well_known() -> None:
    wide = [5.0, 20.0, 8.0, 20.0, 20.0, 20.0] * 2
    assert frontier({"polling@1": (wide, [20.0] * 12)}).verdict == "inconclusive"
    assert (
        frontier({"polling@1": (wide, [20.0] * 12), "polling@2": ([9.0] * 12, [20.0] * 12)}).verdict == "fail"
    )


def test_without_points_there_is_no_frontier() -> None:
    record = frontier({"polling": ([40.0] * 12, [20.0] * 12)})
    assert record.verdict == "inconclusive"
    assert record.reason == "no point of the sweep of polling was measured"


def test_a_point_that_measured_zero_decides_nothing() -> None:
    record = frontier({"polling@1": ([0.0] * 12, [20.0] * 12)})
    assert (record.verdict, record.reason) == (
        "inconclusive",
        "polling@1 measured zero: nothing to compare with",
    )


def test_every_cell_of_the_sweep_must_be_usable() -> None:
    what = criterion("frontier", workload2="notify", metric2="latency_p50_s")
    fine = [
        *(cell(arm, [10.0] * 12) for arm in ("push", "polling@1")),
        cell("push", [1.0] * 12, "notify", "latency_p50_s"),
    ]
    assert judged(what, *fine).reason == "polling@1 did not run notify"
    elsewhere = cell("polling@2", [10.0] * 12, "notify", "latency_p50_s")
    other = cell("polling@1", [10.0] * 12, "notify", "latency_p50_s")
    assert judged(what, *fine, other, elsewhere).reason == "polling@2 did not run idle"


def test_a_late_block_of_one_point_is_no_sample_of_it() -> None:
    what = criterion("frontier", workload2="notify", metric2="latency_p50_s")
    cells = [cell(arm, [value] * 12) for arm, value in (("push", 1.0), ("polling@1", 9.0))]
    cells += [
        cell(arm, [v] * 12, "notify", "latency_p50_s") for arm, v in (("push", 0.01), ("polling@1", 0.1))
    ]
    assert judged(what, *cells).n == 6
    for o in cells[3][:8]:
        o.metrics["lag_p99_s"] = 0.02
    assert judged(what, *cells).n == 4


def test_the_control_of_either_metric_can_overturn_a_frontier() -> None:
    points = {"polling@1": ([40.0] * 12, [20.0] * 12)}
    assert frontier(points, math.log(1.99)).verdict == "pass"
    assert frontier(points, math.log(2.01)).verdict == "contaminated"


def test_the_larger_spread_of_both_metrics_counts() -> None:
    what = criterion("frontier", workload2="notify", metric2="latency_p50_s")
    cells = [cell("push", [10.0] * 12), cell("push", [10.0] * 12, "notify", "latency_p50_s")]
    cells += [cell("polling@1", [40.0] * 12), cell("polling@1", [20.0] * 12, "notify", "latency_p50_s")]
    small, large = controls(0.0), controls(1.0, "notify", "latency_p50_s")
    assert judged(what, *cells, known={**small, **large}).verdict == "contaminated"


def test_the_closest_point_is_that_with_the_lowest_bound() -> None:
    record = frontier(
        {
            "polling@1": ([30.0] * 12, [40.0] * 12),  # two thirds saved for certain
            "polling@2": (
                [12.0, 80.0, 40.0, 80.0, 80.0, 80.0] * 2,
                [40.0] * 12,
            ),  # less in one block, more in others
        }
    )
    assert record.reason == "closest: cpu_cores of polling@2"
    assert 0 < record.ci_low < 1 - 10 / 30
