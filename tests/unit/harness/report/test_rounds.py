import msgspec
import pytest

from harness.report.document import Figure, Paragraph, Table
from harness.report.rounds import PHASES, phases_of_rounds, round_cells
from tests.fakes.results import bare_run, fake_material, fake_run

KINDS = fake_material().kinds


def without(cell, *names):
    kept = {name: m for name, m in cell.metrics.items() if name not in names}
    return msgspec.structs.replace(cell, metrics=kept)


def test_each_cell_with_phases_is_a_row_with_shares():
    figure = Figure("phases", "c")
    (section,) = phases_of_rounds(fake_run(), KINDS, [figure])
    assert figure in section.parts
    table = section.parts[-1]
    assert isinstance(table, Table)
    push = next(row for row in table.rows if row[:2] == ("fedavg_round", "push"))
    assert [cell.split("\n")[1] for cell in push[2:6]] == ["20 %", "60 %", "15 %", "5 %"]
    assert push[6] == "3.00 ms"


def test_the_phases_of_a_round_are_the_round():
    for cell in round_cells(fake_run()):
        found = next(c for c in fake_run().cells if (c.arm, c.workload) == (cell.arm, cell.workload))
        assert cell.round_s == pytest.approx(found.metrics["round_s"].value, rel=0.01)


def test_a_round_that_lacks_a_phase_is_left_out():
    cells = [without(c, "round_reduce_s") if c.arm == "push" else c for c in fake_run().cells]
    assert all(cell.arm != "push" for cell in round_cells(bare_run(cells=cells)))


def test_rounds_of_an_older_version_are_said_to_have_none():
    cells = [without(c, *PHASES) for c in fake_run().cells]
    (section,) = phases_of_rounds(bare_run(cells=cells), KINDS, [])
    assert section.parts == [Paragraph("The rounds of this run were not recorded by phase.")]


def test_a_run_without_rounds_has_no_section():
    cells = [c for c in fake_run().cells if c.workload == "rpc_ping"]
    assert phases_of_rounds(bare_run(cells=cells), KINDS, []) == []
