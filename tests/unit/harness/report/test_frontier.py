import msgspec

from harness.report.document import Figure, Table
from harness.report.frontier import points, polling_frontier, push_arm
from tests.fakes.results import SWEEP, bare_run, fake_material, fake_run

KINDS = fake_material().kinds


def cells_with(workload, metric, **values):
    """Return the run's cells with the metric's value of each arm replaced."""
    cells = []
    for cell in fake_run().cells:
        if cell.workload == workload and cell.arm in values:
            changed = msgspec.structs.replace(cell.metrics[metric], value=values[cell.arm])
            cell = msgspec.structs.replace(cell, metrics={**cell.metrics, metric: changed})
        cells.append(cell)
    return cells


def test_points_are_the_sweep_and_the_two_it_lies_between():
    found = points(fake_run(), KINDS)
    assert [point.arm for point in found] == ["push", "polling", *(f"polling@{value:g}" for value in SWEEP)]
    assert push_arm(fake_run()) == "push"


def test_each_interval_is_a_row_that_says_where_it_is_worse():
    figure = Figure("frontier", "c")
    (section,) = polling_frontier(fake_run(), KINDS, [figure])
    table = section.parts[-1]
    assert isinstance(table, Table)
    assert figure in section.parts
    assert [row[1] for row in table.rows[2:]] == ["1 ms", "5 ms", "20 ms", "100 ms", "500 ms", "1 s"]
    assert {row[4] for row in table.rows[1:]} == {"worse in CPU and latency"}


def test_an_interval_that_is_as_good_is_told():
    cells = cells_with("idle_federation", "cpu_cores", **{"polling@1": 1e-9, "polling@0.5": 1e-9})
    late = cells_with("push_notify", "latency_p50_s", **{"polling@1": 1e-9})
    rest = {(c.arm, c.workload): c for c in late}
    mixed = [rest[c.arm, c.workload] if c.workload == "push_notify" else c for c in cells]
    (section,) = polling_frontier(bare_run(cells=mixed), KINDS, [])
    found = {row[0]: row[4] for row in section.parts[-1].rows}
    assert found["polling@0.5"] == "worse in latency"
    assert found["polling@1"] == "as good or better in both"


def test_without_a_sweep_there_is_no_section():
    cells = [cell for cell in fake_run().cells if "@" not in cell.arm]
    assert polling_frontier(bare_run(cells=cells), KINDS, []) == []
    assert push_arm(bare_run(cells=cells)) is None
    assert polling_frontier(fake_run(), {}, []) == []
