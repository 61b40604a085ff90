import msgspec

from harness.report.circumstances import environment, validity
from harness.report.document import Paragraph, Table
from harness.report.format import NOTHING
from tests.fakes.results import RATES, bare_run, fake_run

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


def test_a_generator_that_lags_is_told():
    run = fake_run()
    tables = [part for part in validity(run).parts if isinstance(part, Table)]
    assert {row[-1] for row in tables[1].rows} == {"yes"}
    cell = next(c for c in run.cells if c.workload == "push_notify" and c.arm == "push")
    lags = [
        msgspec.structs.replace(cell.metrics["lag_p99_s"], value=value, ci_high=high)
        for value, high in ((0.009, 0.010), (0.009, 0.011), (0.011, None), (None, None))
    ]
    late = [msgspec.structs.replace(cell, metrics={"lag_p99_s": lag}) for lag in lags]
    (table,) = [part for part in validity(bare_run(cells=late)).parts if isinstance(part, Table)]
    assert [row[-1] for row in table.rows] == ["yes", "no", "no", "no"]


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
    assert validity(bare_run(), RATES).parts[-1].text == (
        "Error rates of the comparison on Example Processor 3.0 GHz, 2 cores, x86_64, Python 3.11, 12 blocks "
        "a batch, measured 2025-01-01T00:00:00Z: 1 false alarms in 300 comparisons of the same code with "
        "itself (at most 1.6 %); 196 of 200 slow-downs of twice what can be told found (at least 95.5 %). "
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
