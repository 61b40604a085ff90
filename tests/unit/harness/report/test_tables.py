import msgspec

from harness.records.format import NOTHING
from harness.report.document import Paragraph, Table
from harness.report.tables import workloads
from tests.fakes.results import WORKLOADS, bare_run, fake_run


def section(name, run=None):
    return next(s for s in workloads(run or fake_run(), {}) if s.title == name)


def rows(table):
    return {row[0]: row[2:] for row in table.rows}


def test_every_workload_has_a_section_below_the_legend():
    first, *others = workloads(fake_run(), {})
    assert (first.title, first.level) == ("Workloads", 2)
    assert [(s.title, s.level) for s in others] == [(name, 3) for name in sorted(WORKLOADS)]


def test_a_value_stands_above_its_interval_by_arm():
    params, table = section("rpc_ping").parts
    assert params.text == "clients 100, operations 3000, payload_bytes 64"
    arms = [title.partition("\n")[0] for title, _ in table.columns[2:]]
    assert arms == ["push", "push_again", "push_asyncio", "polling"]
    value, bounds = rows(table)["latency_p50_s"][0].split("\n")
    assert value.endswith(" µs")
    assert bounds.startswith("[")
    assert rows(table)["log_records_per_s"][0] == "0"


def test_what_stands_above_the_metrics_is_put_there():
    above = Paragraph("above")
    found = next(s for s in workloads(fake_run(), {"hop": [above]}) if s.title == "hop")
    assert found.parts[1] is above


def test_parameters_that_are_empty_or_a_switch_are_words():
    cell = next(c for c in fake_run().cells if c.workload == "hop")
    run = bare_run(cells=[msgspec.structs.replace(cell, params={"floor": "", "two_cores": False, "n": 0})])
    assert section("hop", run).parts[0].text == "floor none, two_cores no, n 0"


def test_the_sweep_has_a_table_of_its_own_with_its_settings():
    _, main, swept = section("idle_federation").parts
    assert len(main.columns) == 2 + 3
    assert rows(swept)["settings"][:2] == ("poll_interval_s 0.001", "poll_interval_s 0.005")
    assert "settings" not in rows(main)


def test_status_and_blocks_tell_what_is_behind_a_column():
    _, table = section("broadcast").parts
    assert rows(table)["status"] == ("ok", "failed", "ok", "unsupported")
    assert rows(table)["blocks"] == ("5", "4", "5", "0")
    assert rows(table)["latency_p50_s"][3] == NOTHING
    assert rows(table)["latency_p50_s"][1].count("\n") == 0  # four blocks give no interval


def test_a_metric_with_fewer_blocks_than_the_others_says_so():
    cell = next(c for c in fake_run().cells if c.arm == "push" and c.workload == "rpc_ping")
    short = msgspec.structs.replace(cell.metrics["cpu_cores"], n=2, ci_low=None, ci_high=None)
    run = bare_run(
        cells=[msgspec.structs.replace(cell, metrics={**cell.metrics, "cpu_cores": short}, params={})]
    )
    (table,) = section("rpc_ping", run).parts
    assert rows(table)["cpu_cores"][0].endswith("\nn = 2")


def test_texts_are_shown_short_and_differences_counted():
    _, table = section("digits_training").parts
    assert rows(table)["model_digest"] == ("9f9f9f9f9f9f…", "9f9f9f9f9f9f…")
    cell = next(c for c in fake_run().cells if c.workload == "digits_training")
    shown = [
        rows(
            section(
                "digits_training", bare_run(cells=[msgspec.structs.replace(cell, texts={"d": texts})])
            ).parts[1]
        )
        for texts in (["a", "b"], ["short"], [])
    ]
    assert [table["d"] for table in shown] == [("2 different",), ("short",), (NOTHING,)]


def test_a_run_without_cells_has_no_table():
    (only,) = workloads(bare_run(), {})
    assert isinstance(only.parts[0], Paragraph)
    assert not any(isinstance(part, Table) for part in only.parts)
