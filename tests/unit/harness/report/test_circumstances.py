import msgspec

from harness.report.circumstances import environment, validity
from harness.report.document import Paragraph, Table
from harness.report.format import NOTHING
from tests.fakes.results import bare_run, fake_run

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
    table = validity(bare_run(controls=[*run.controls, unknown])).parts[1]
    assert table.rows[0] == ("fedavg_round", "push", "cpu_s_per_op", f"2.56{TIMES}", "5")
    assert table.rows[-1][3:] == ("unknown", "0")


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
        "A/A control",
        "Load generator",
        "Garbage collection",
    ]
