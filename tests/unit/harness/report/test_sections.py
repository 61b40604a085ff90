from harness.report.document import Bullets, Figure, Paragraph, Table
from harness.report.missing import not_measured
from harness.report.sections import CAPTIONS, LATENCY_CAPTION, headline, sections
from tests.fakes.promises import kept_run, promise_run
from tests.fakes.results import CRITERIA, PLOT_NAMES, bare_run, fake_material, fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def section(run, title, figures=()):
    return next(s for s in sections(run, tuple(figures)) if s.title == title)


def test_the_verdict_comes_first_and_what_was_not_measured_before_the_results():
    titles = [s.title for s in sections(fake_run(), PLOT_NAMES, fake_material()) if s.level == 2]
    assert titles == [
        "Verdict", "Criteria", "Criteria in a plot", "Not measured", "Environment", "Validity", "Workloads",
        "Push against polling",
        "Polling frontier", "Scaling", "Phases of a round", "Where push loses", "Flame graphs",
        "Order of the runs", "Files",
    ]  # fmt: skip
    assert headline(fake_run()) == "Push against polling, quick: FAIL"


def test_a_run_with_promises_opens_with_them_and_then_says_how_it_ended():
    told, table, figure, reason, *_ = section(promise_run(), "Verdict", ("promises",)).parts
    assert told.text.startswith("Push against polling: CPU idle 98.7 to 99.92 % less, ")
    assert [title for title, _ in table.columns] == ["Promise", "memory", "process", "network"]
    assert figure == Figure("promises", CAPTIONS["promises"])
    assert reason.text.startswith("1 contaminated, 1 fail, ")
    assert not any(isinstance(part, Bullets) for part in section(promise_run(), "Verdict").parts)
    assert section(kept_run(), "Verdict").parts[2].text == "27 pass."


def test_details_are_folded_and_what_matters_is_not():
    found = {s.title: s for s in sections(fake_run(), PLOT_NAMES, fake_material()) if s.level == 2}
    assert [title for title, s in found.items() if not s.folded] == [
        "Verdict", "Criteria", "Not measured", "Files",
    ]  # fmt: skip
    assert found["Environment"].hint == "Example Processor 3.0 GHz, x86_64"
    assert found["Validity"].hint == "1 warning"
    assert found["Workloads"].hint == "10 workloads, every metric"
    assert found["Where push loses"].hint.startswith("17 of 213 values, ")
    assert section(bare_run(), "Validity").hint == "no warnings"
    many = bare_run(not_measured=[f"criterion {i}: its cells were filtered out" for i in range(13)])
    folded = section(many, "Not measured")
    assert (folded.folded, folded.hint) == (True, "13 lines")


def test_figures_stand_where_they_belong():
    (plot,) = section(fake_run(), "Criteria in a plot", CAPTIONS).parts
    assert plot == Figure("criteria", CAPTIONS["criteria"])
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
    assert missed.items[0] == "memory: fail: the whole interval misses the target"
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
