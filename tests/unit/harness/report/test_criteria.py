import msgspec
import pytest

from harness.records.schema import Beside
from harness.report.criteria import (
    CRITERIA_LEGEND,
    ORDER,
    beside,
    bounds,
    criteria_parts,
    measured,
    ordered,
    target,
)
from harness.report.document import Paragraph, Table
from tests.fakes.promises import promise_run
from tests.fakes.results import CRITERIA, bare_run, fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def criterion(name, run=None):
    return next(c for c in (CRITERIA if run is None else run.criteria) if c.id == name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cpu-idle", "≥ 80 %"),
        ("rpc-p99", "≤ 10 ms"),
        ("round-asyncio", f"≤ 1.05{TIMES}"),
        ("accuracy", "≥ 90 %"),
        ("model", "all the same"),
        ("frontier", "> 0"),
    ],
)
def test_a_target_says_which_side_is_meant(name, text):
    assert target(criterion(name)) == text


def test_an_exact_count_is_held_from_above():
    assert (
        target(msgspec.structs.replace(criterion("rpc-p99"), kind="at_most", unit="1/op", target=3))
        == "≤ 3 /op"
    )


def test_answers_that_must_be_equal_say_whether_they_are():
    same = criterion("model")
    assert (measured(same), bounds(same, same.unit)) == ("all the same", "")
    assert measured(msgspec.structs.replace(same, value=2.0)) == "2 different"
    assert measured(msgspec.structs.replace(same, value=None)) == "—"


def test_what_failed_comes_first_then_what_is_open_and_a_pass_last():
    verdicts = [c.verdict for c in ordered(promise_run().criteria)]
    assert verdicts == sorted(verdicts, key=ORDER.index)
    assert verdicts[:4] == ["fail", "contaminated", "inconclusive", "pass"]
    passed = [c.id for c in ordered(CRITERIA) if c.verdict == "pass"]
    assert passed == [c.id for c in CRITERIA if c.verdict == "pass"]


def test_every_criterion_stands_in_the_table_with_its_verdict():
    table, legend = criteria_parts(fake_run())
    assert isinstance(table, Table)
    assert table.stacked
    assert [(row[0].splitlines()[0], row[1]) for row in table.rows] == [
        (c.id, c.verdict) for c in ordered(CRITERIA)
    ]
    assert legend == Paragraph(CRITERIA_LEGEND)


def test_a_row_holds_what_stands_beside_it_its_note_and_who_disturbed_it():
    rows = {row[0].splitlines()[0]: row for row in criteria_parts(promise_run())[0].rows}
    assert rows["memory"][0].splitlines()[1:] == [
        "memory falls by 50 %",
        "the legacy copied messages in memory mode: deep copies, as in its published source",
    ]
    value, interval, first, *_ = rows["memory"][2].splitlines()
    assert (value, interval) == ("59.3 %", "[54.4, 61.7] %")
    assert first == "at 4 KiB: 55.3 % [54.3, 56.3] %"
    assert rows["cpu-idle"][2].splitlines()[-1] == "at 100 ms: — (not measured in quick)"
    reason, disturbed = rows["process-latency-push"][5].splitlines()
    assert reason.startswith("4 of 6 blocks were disturbed in both attempts")
    assert disturbed.endswith("cc1plus (4242) 0.98 cores")


def test_a_line_break_in_what_others_wrote_makes_no_line():
    odd = msgspec.structs.replace(
        criterion("cpu-idle"),
        title="a\nb",
        beside=[Beside(label="x\ny", value=0.5, ci_low=None, ci_high=None, n=1)],
    )
    row = criteria_parts(bare_run(criteria=[odd]))[0].rows[0]
    assert row[0] == "cpu-idle\na b"
    assert row[2].splitlines()[-1] == "x y: 50.0 %"
    assert beside(criterion("cpu-idle")) == []


def test_a_run_without_criteria_says_so():
    (text,) = criteria_parts(bare_run())
    assert text.text.startswith("The suite has no criteria")
