import msgspec

from harness.records.format import NOTHING
from harness.records.summary import summarise
from harness.report.circumstances import environment, validity
from harness.report.document import Paragraph, Table
from harness.report.material import Material
from tests.fakes.results import RATES, bare_run, fake_material, fake_observations, fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def found(run):
    (table,) = environment(run).parts
    return dict(table.rows)


def test_the_fingerprint_is_for_people():
    rows = found(fake_run())
    assert rows["CPU"] == "Example Processor 3.0 GHz"
    assert rows["Memory"] == "8.00 GiB"
    assert rows["Frequency governor"] == NOTHING
    assert rows["Packages"] == f"fedbench 0.1.0, numpy 2.1.0, uvloop 0.21.0, pandas {NOTHING}"
    assert rows["Commit"].endswith("34567, with uncommitted changes")
    assert rows["Before the run"] == (
        f"load 0.41, 0.52, 0.60 (1, 5, 15 min); stalled cpu 1.2 %, memory 0.0 %, io {NOTHING} (10 s)"
    )
    assert (rows["Command"], rows["Seed"]) == ("fedbench run quick --seed 7", "7")


def test_nothing_that_was_found_is_left_out():
    rows = found(
        bare_run(environment={"turbo": False, "commit": "abc", "dirty": False, "before": {}, "after": None})
    )
    assert rows["turbo"] == "False"
    assert rows["Commit"] == "abc"
    assert rows["Before the run"] == f"load {NOTHING} (1, 5, 15 min); stalled {NOTHING} (10 s)"
    assert rows["After the run"] == NOTHING


def test_each_sitting_of_a_resumed_run_has_its_pressure():
    """The ends of the whole run are those before the first and after the last."""
    ends = [{"before": {"load": [n]}, "after": {"load": [n + 0.5]}} for n in (1, 2, 3)]
    rows = found(bare_run(environment={"resumed_utc": "then", "sittings": ends}))
    shown = {label: text.partition(" (")[0] for label, text in rows.items()}
    assert list(shown.items())[:5] == [
        ("Resumed", "then"),
        ("After sitting 1", "load 1.50"),
        ("Before sitting 2", "load 2.00"),
        ("After sitting 2", "load 2.50"),
        ("Before sitting 3", "load 3.00"),
    ]
    assert "sittings" not in rows
    assert next(iter(found(bare_run(environment={"sittings": "two"})))) == "Command"


def test_an_environment_that_is_nested_without_end_is_shown_as_far_as_it_goes():
    nested = 1
    for _ in range(900):
        nested = {"a": nested}
    assert found(bare_run(environment={"odd": nested}))["odd"] == "a a a a a …"


def test_controls_are_factors():
    run = fake_run()
    unknown = msgspec.structs.replace(run.controls[0], spread=None, n=0)
    edited = msgspec.structs.replace(run.controls[0], spread=1e308)
    table = next(
        p for p in validity(bare_run(controls=[*run.controls, edited, unknown])).parts if isinstance(p, Table)
    )
    assert table.rows[0] == ("fedavg_round", "push", "cpu_s_per_op", f"2.56{TIMES}", "5")
    assert table.rows[-1][3:] == ("unknown", "0")
    assert table.rows[-2][3] == "∞"


def lagging(*lags_s, status="ok"):
    """Return the row of a cell whose generator lagged so in each block."""
    some = next(o for o in fake_observations() if (o.workload, o.arm) == ("push_notify", "push"))
    made = [
        msgspec.structs.replace(some, block=block, status=status, metrics={"lag_p99_s": lag_s})
        for block, lag_s in enumerate(lags_s, start=1)
    ]
    parts = validity(bare_run(cells=summarise(made)), Material(made)).parts
    ((row,),) = [part.rows for part in parts if isinstance(part, Table)]
    return row


def test_a_generator_that_lags_is_told():
    tables = [part for part in validity(fake_run(), fake_material()).parts if isinstance(part, Table)]
    assert {row[-1] for row in tables[1].rows} == {"yes"}
    assert lagging(0.009, 0.010)[-1] == "yes"
    assert lagging(0.009, 0.011)[-1] == "no"
    assert lagging(None, None)[2:] == (NOTHING, NOTHING, "no")


def test_one_block_that_lags_voids_a_cell_as_at_the_gate():
    assert lagging(*[0.001] * 9, 0.050)[2:] == ("1.00 ms", "50.0 ms", "no")


def test_the_lag_of_a_failed_cell_is_not_known():
    assert lagging(0.001, status="failed")[3:] == (NOTHING, "no")


def test_what_was_not_controlled_is_said():
    parts = validity(bare_run()).parts
    assert all(isinstance(part, Paragraph) for part in parts)
    assert [part.text.partition(":")[0] for part in parts] == [
        "Warnings",
        "A/A control",
        "Load generator",
        "Garbage collection",
        "Error rates of the comparison",
    ]


def test_warnings_come_first():
    said, warnings = validity(fake_run()).parts[:2]
    assert (said.text, warnings.items) == ("Warnings:", fake_run().warnings)


def test_error_rates_are_quoted_with_their_bounds_or_said_to_be_unknown():
    assert validity(bare_run()).parts[-1].text == "Error rates of the comparison: not calibrated here."
    assert validity(bare_run(), Material(rates=RATES)).parts[-1].text == (
        "Error rates of the comparison on Example Processor 3.0 GHz, 2 cores, x86_64, Python 3.11, 12 blocks "
        "a batch, measured 2025-01-01T00:00:00Z: 1 false alarms in 300 comparisons of the same code with "
        "itself (at most 1.6 %); 196 of 200 slow-downs of the detectable size found (at least 95.5 %). "
        "The bounds are exact at 95 %."
    )


def test_what_was_recorded_of_garbage_collection_is_shown():
    cell = fake_run().cells[0]
    overlap = msgspec.structs.replace(cell.metrics["cpu_cores"], unit="share", value=0.02)
    run = bare_run(cells=[msgspec.structs.replace(cell, metrics={"gc_share": overlap})])
    (table,) = [part for part in validity(run).parts if isinstance(part, Table)]
    assert table.rows == [(cell.workload, cell.arm, "gc_share", "2.00 %")]


def test_an_environment_edited_by_hand_is_shown_as_far_as_it_goes():
    odd = {
        "memory_bytes": "much",
        "before": {"load": "high", "stall_share": [1]},
        "after": {"load": [None, 1]},
    }
    rows = found(bare_run(environment=odd))
    assert rows["Memory"] == "much"
    assert rows["Before the run"] == f"load {NOTHING} (1, 5, 15 min); stalled {NOTHING} (10 s)"
    assert rows["After the run"].startswith("load 1.00 (")
