import msgspec

from harness.report.missing import not_measured, not_run
from tests.fakes.results import bare_run, fake_run


def test_what_was_not_run_is_said_once_with_its_reason():
    lines = not_run(fake_run())
    assert "criterion network-rpc: its cells were filtered out" in lines
    assert sum(line.startswith("push_asyncio broadcast: failed") for line in lines) == 1
    assert "floors broadcast: unsupported: floors have no clients" in lines
    assert not_measured(fake_run())[: len(lines)] == lines


def test_cells_that_miss_the_same_for_the_same_reason_share_a_line():
    lines = not_measured(fake_run())
    (line,) = [line for line in lines if line.startswith("latency_p99_bound_s: fewer than 299 operations: ")]
    assert "push broadcast (5 of 5), push_asyncio broadcast (5 of 5), polling broadcast (5 of 5)" in line
    assert any(line.startswith("14 metrics: could not be measured: push_asyncio broadcast") for line in lines)


def test_a_missing_value_without_a_reason_is_still_listed():
    cell = next(c for c in fake_run().cells if c.arm == "push" and c.workload == "rpc_ping")
    nothing = msgspec.structs.replace(cell.metrics["cpu_cores"], value=None, reason="")
    run = bare_run(cells=[msgspec.structs.replace(cell, metrics={"cpu_cores": nothing})])
    assert not_measured(run) == ["cpu_cores: no reason is given: push rpc_ping"]


def test_where_all_was_measured_nothing_is_said():
    assert not_measured(bare_run()) == []
