import msgspec

from harness.records.format import NOTHING
from harness.report.document import Paragraph, Table
from harness.report.material import Material
from harness.report.percentiles import figure_names, percentiles
from tests.fakes.results import TIMED, fake_material, fake_observations


def test_every_distribution_of_a_workload_is_a_row_by_arm():
    text, table = percentiles("push_notify", fake_material())
    assert isinstance(text, Paragraph)
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows[:4]] == [
        ("push", "latency"),
        ("push", "from the intended time"),
        ("push", "lag of the generator"),
        ("polling", "latency"),
    ]
    assert [title for title, _ in table.columns] == [
        "Arm", "Of", "Operations", "p50", "p90", "p99", "p99.9", "largest",
    ]  # fmt: skip
    assert table.rows[0][2] == "2,000"
    assert table.rows[0][6] == NOTHING
    assert table.rows[0][3].endswith(" µs")


def test_a_workload_without_distributions_has_no_table():
    assert percentiles("memory_round", fake_material()) == []
    assert percentiles("rpc_ping", Material()) == []


def test_a_distribution_of_another_version_is_shown_under_its_name():
    timed = next(o for o in fake_observations() if o.histograms)
    other = msgspec.structs.replace(timed, histograms={"service": timed.histograms["latency"]})
    (_, table) = percentiles(other.workload, Material([other]))
    assert table.rows[0][1] == "service"


def test_names_of_figures_are_those_of_the_workloads():
    assert figure_names(fake_material().distributions) == {name: f"latency-{name}" for name in TIMED}
