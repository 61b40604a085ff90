import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.schema import CellRecord, MetricSummary
from harness.report.document import Table
from harness.report.scaling import Series, scaling, series
from tests.fakes.results import bare_run, fake_material, fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def summary(value, unit="s"):
    return MetricSummary(unit=unit, direction="lower", value=value, ci_low=None, ci_high=None, n=3)


def cell(workload, value=1.0, *, arm="push", metric="latency_p50_s", unit="s", **params):
    return CellRecord(
        arm=arm, stack="push", loop="uvloop", mode="memory", workload=workload, params=params, status="ok",
        metrics={metric: summary(value, unit)}, texts={}, reasons=[],
    )  # fmt: skip


def found(*cells, kind="broadcast"):
    return series(bare_run(cells=list(cells)), {c.workload: kind for c in cells})


def test_cells_that_differ_in_one_size_are_a_series():
    cells = [cell("c", 9.0, clients=100, rounds=5), cell("a", 1.0, clients=10), cell("b", 3.0, clients=30)]
    (only,) = found(*cells)
    assert only == Series("broadcast", "push", "clients", ((10, 1.0), (30, 3.0), (100, 9.0)))


@pytest.mark.parametrize(
    "other",
    [
        cell("b", 2.0, clients=10, model_bytes=64),
        cell("b", 2.0, clients=20, model_bytes=128),
        cell("b", 2.0, clients=20, model_bytes=64, floor="tcp"),
        cell("b", 2.0, arm="polling", clients=20, model_bytes=64),
        cell("b", None, clients=20, model_bytes=64),
        cell("b", 0.0, clients=20, model_bytes=64),
        cell("b", 2.0, clients="many", model_bytes=64),
        cell("b", 2.0, metric="cpu_cores", clients=20, model_bytes=64),
    ],
)
def test_what_differs_otherwise_or_has_no_time_is_none(other):
    assert found(cell("a", 1.0, clients=10, model_bytes=64), other) == []


def test_a_sweep_of_polling_is_not_about_size():
    assert found(*(cell(str(n), 1.0, arm="polling@0.1", clients=n) for n in (1, 2))) == []


def test_other_kinds_do_not_mix():
    cells = [cell("a", 1.0, clients=10), cell("b", 1.0, clients=20)]
    assert series(bare_run(cells=cells), {"a": "broadcast", "b": "fedavg_round"}) == []
    assert series(bare_run(cells=cells), {}) == []


@given(st.floats(-2.0, 3.0), st.lists(st.integers(1, 10_000), min_size=2, max_size=9, unique=True))
def test_the_exponent_of_a_power_is_that_power(power, sizes):
    points = tuple((float(n), 1e-3 * n**power) for n in sorted(sizes))
    assert Series("k", "a", "clients", points).exponent == pytest.approx(power, abs=1e-6)


def test_growth_is_told_from_the_smallest_to_the_largest():
    (section,) = scaling(fake_run(), fake_material().kinds, [])
    (table,) = [part for part in section.parts if isinstance(part, Table)]
    assert table.rows == [
        (
            "fedavg_round",
            "push",
            "clients",
            "20",
            "100",
            "3.00 ms",
            "13.3 ms",
            f"5.00{TIMES}",
            f"4.45{TIMES}",
            "0.93",
        )
    ]


def test_what_each_client_adds_is_a_slope_with_its_interval():
    slope = cell("memory_slope", 6 << 20, metric="memory_per_client_bytes", unit="B", clients=40)
    bounds = msgspec.structs.replace(
        slope.metrics["memory_per_client_bytes"], ci_low=5 << 20, ci_high=7 << 20
    )
    slope = msgspec.structs.replace(slope, metrics={"memory_per_client_bytes": bounds})
    (section,) = scaling(bare_run(cells=[slope]), {"memory_slope": "memory_slope"}, [])
    (table,) = [part for part in section.parts if isinstance(part, Table)]
    assert table.rows == [
        ("memory_slope", "push", "40", "memory of all processes", "6.00 MiB", "[5.00, 7.00] MiB", "3")
    ]


def test_a_run_of_one_size_has_no_section():
    assert scaling(bare_run(cells=[cell("a", clients=3)]), {"a": "broadcast"}, []) == []
