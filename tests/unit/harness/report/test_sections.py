import pytest

from harness.report.document import Bullets, Figure, Paragraph, Table
from harness.report.missing import not_measured
from harness.report.sections import (
    CAPTIONS,
    CRITERIA_LEGEND,
    LATENCY_CAPTION,
    headline,
    sections,
    target,
)
from tests.fakes.results import CRITERIA, PLOT_NAMES, bare_run, fake_material, fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def section(run, title, figures=()):
    return next(s for s in sections(run, tuple(figures)) if s.title == title)


def test_the_verdict_comes_first_and_what_was_not_measured_before_the_results():
    titles = [s.title for s in sections(fake_run(), PLOT_NAMES, fake_material()) if s.level == 2]
    assert titles == [
        "Verdict", "Criteria", "Not measured", "Environment", "Validity", "Workloads", "Push against polling",
        "Polling frontier", "Scaling", "Phases of a round", "Where push loses", "Flame graphs",
        "Order of the runs", "Files",
    ]  # fmt: skip
    assert headline(fake_run()) == "Push against polling, quick: FAIL"


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        ("cpu-idle", "≥ 80 %"),
        ("rpc-p99", "≤ 10 ms"),
        ("round-asyncio", f"≤ 1.05{TIMES}"),
        ("accuracy", "≥ 90 %"),
        ("model", "= 1 distinct"),
        ("frontier", "> 0"),
    ],
)
def test_a_target_says_which_side_is_meant(criterion, text):
    assert target(next(c for c in CRITERIA if c.id == criterion)) == text


def test_every_criterion_stands_in_the_table_with_its_verdict():
    table = section(fake_run(), "Criteria").parts[0]
    assert isinstance(table, Table)
    assert [(row[0], row[1]) for row in table.rows] == [(c.id, c.verdict) for c in CRITERIA]


def test_what_an_interval_and_n_mean_stands_below_the_table():
    assert section(fake_run(), "Criteria").parts[1] == Paragraph(CRITERIA_LEGEND)
    (text,) = section(bare_run(), "Criteria").parts
    assert isinstance(text, Paragraph)
    assert text.text.startswith("The suite has no criteria")


def test_figures_stand_where_they_belong():
    assert section(fake_run(), "Criteria", CAPTIONS).parts[2] == Figure("criteria", CAPTIONS["criteria"])
    plots = section(fake_run(), "Push against polling", ("latency-hop", "criteria", "ratios", "comparison"))
    assert [part.name for part in plots.parts] == ["comparison", "ratios"]
    assert all(s.title != "Push against polling" for s in sections(fake_run(), ("criteria",)))
    placed = [part.name for s in sections(fake_run(), PLOT_NAMES, fake_material()) for part in s.parts
              if isinstance(part, Figure)]  # fmt: skip
    assert sorted(placed) == sorted(PLOT_NAMES)


def test_a_workload_begins_with_its_distribution():
    parts = next(s for s in sections(fake_run(), PLOT_NAMES, fake_material()) if s.title == "rpc_ping").parts
    assert isinstance(parts[0], Paragraph)
    assert parts[1] == Figure("latency-rpc_ping", LATENCY_CAPTION)
    assert [len(part.columns) for part in parts if isinstance(part, Table)] == [8, 6]


def test_the_verdict_names_what_did_not_pass_and_the_warnings():
    reason, _, missed, warned = section(fake_run(), "Verdict").parts
    assert reason.text.endswith("first failed: memory.")
    assert missed.items[1] == "memory: fail: the whole interval misses the target"
    assert len(missed.items) == 4
    assert warned.text == "There is 1 warning about this run: see Validity."
    calm = bare_run(criteria=[CRITERIA[0]])
    assert len(section(calm, "Verdict").parts) == 2
    assert section(bare_run(warnings=["a", "b"]), "Verdict").parts[-1].text.startswith("There are 2 warnings")


def test_what_was_not_measured_has_its_section():
    (part,) = section(fake_run(), "Not measured").parts
    assert isinstance(part, Bullets)
    assert part.items == not_measured(fake_run())


def test_losses_are_counted_and_listed():
    text, failed, table = section(fake_run(), "Where push loses").parts
    assert text.text.startswith("Of 213 values")
    assert f"{len(table.rows)} are worse" in text.text
    assert failed.items == ["push_asyncio broadcast: failed, where polling ended well"]
    assert table.rows[0][:2] == ("broadcast", "latency_p99_s")
    assert not any("push_again" in row[2] for row in table.rows)  # it is there for the control
    assert {row[-1] for row in table.rows} == {"yes", "no", "unknown: fewer than 5 blocks"}


def test_a_run_without_losses_says_so():
    better = [c for c in fake_run().cells if c.workload == "idle_federation" and c.arm in ("push", "polling")]
    (text,) = section(bare_run(cells=better), "Where push loses").parts
    assert "0 are worse" in text.text


def test_an_empty_run_says_what_is_missing():
    run = bare_run()
    texts = [part.text for s in sections(run, ()) for part in s.parts if isinstance(part, Paragraph)]
    for expected in (
        "The suite has no criteria, or none of them could be decided with the cells chosen.",
        "Everything that was planned was measured.",
        "Warnings: none.",
        "Error rates of the comparison: not calibrated here.",
        "No workload was run by both push and polling.",
    ):
        assert expected in texts


def test_the_order_of_the_runs_is_kept():
    table = section(fake_run(), "Order of the runs").parts[1]
    assert [row[1].split(", ") for row in table.rows] == fake_run().order
