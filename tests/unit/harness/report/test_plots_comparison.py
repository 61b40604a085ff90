import msgspec

from harness.report.plots_comparison import comparison, frontier
from harness.report.svg import BLUE, RED
from tests.fakes.results import bare_run, fake_observations, fake_run


def cells_with(workload, metric, **values):
    """Return the run's cells with the metric's value of each arm replaced."""
    cells = []
    for cell in fake_run().cells:
        if cell.workload == workload and cell.arm in values:
            changed = msgspec.structs.replace(cell.metrics[metric], value=values[cell.arm])
            cell = msgspec.structs.replace(cell, metrics={**cell.metrics, metric: changed})
        cells.append(cell)
    return cells


def test_each_quantity_is_a_pair_of_bars_with_its_values():
    svg = comparison(fake_run(), fake_observations())
    for label in ("CPU at rest", "CPU per round", "median call", "median notification", "peak memory"):
        assert f">{label}<" in svg
    for value in (">61.9 µs<", ">22.0 ms<", ">470 MiB<", ">774 MiB<", ">0<", ">50.0 /s<"):
        assert value in svg
    assert BLUE in svg
    assert RED in svg


def test_zeros_are_written_and_not_drawn():
    cells = cells_with("idle_federation", "log_records_per_s", push=0.0, polling=0.0)
    svg = comparison(
        bare_run(cells=[c for c in cells if c.workload == "idle_federation"]), fake_observations()
    )
    assert svg.count(">0<") == 2
    assert "nan" not in svg


def test_a_quantity_that_one_has_not_is_left_out():
    cells = cells_with("memory_round", "memory_peak_bytes", push=None)
    assert ">peak memory<" not in comparison(bare_run(cells=cells), fake_observations())


def test_one_architecture_alone_is_not_compared():
    cells = [cell for cell in fake_run().cells if cell.stack == "push"]
    assert comparison(bare_run(cells=cells), fake_observations()) is None
    assert frontier(bare_run(cells=cells), fake_observations()) is None
    assert comparison(fake_run(), []) is None


def test_the_frontier_shows_every_interval_and_push():
    svg = frontier(fake_run(), fake_observations())
    for label in (
        "every 1 ms",
        "every 5 ms",
        "every 20 ms",
        "every 100 ms",
        "every 500 ms",
        "every 1 s",
        "push",
    ):
        assert f">{label}<" in svg
    assert ">push_again<" not in svg


def test_a_federation_that_rests_for_free_is_an_arrow():
    cells = cells_with("idle_federation", "cpu_cores", push=0.0)
    svg = frontier(bare_run(cells=cells), fake_observations())
    assert ">push: 0<" in svg
    assert "nan" not in svg
    assert "inf" not in svg


def test_a_point_that_was_not_measured_is_left_out():
    cells = cells_with("idle_federation", "cpu_cores", **{"polling@0.1": None})
    svg = frontier(bare_run(cells=cells), fake_observations())
    assert ">every 100 ms<" not in svg
    assert ">every 500 ms<" in svg


def test_without_a_sweep_there_is_no_frontier():
    cells = [cell for cell in fake_run().cells if "@" not in cell.arm]
    assert frontier(bare_run(cells=cells), fake_observations()) is None
