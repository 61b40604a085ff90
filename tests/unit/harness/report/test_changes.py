import pytest

from harness.report.changes import (
    NOT_CALIBRATED,
    bounds,
    counts,
    margin,
    ordered,
    reliability,
    sections,
    shift,
    summary,
    verdict_line,
)
from tests.fakes.comparisons import CHANGES, RATES, fake_change, fake_comparison


def test_what_matters_most_comes_first():
    assert [(c.verdict, c.metric) for c in ordered(CHANGES)] == [
        ("regressed", "latency_p99_s"),  # 2.9 margins
        ("regressed", "latency_p50_s"),  # 2.2 margins
        ("improved", "memory_peak_bytes"),
        ("contaminated", "log_warnings_per_op"),
        ("inconclusive", "wakeups_per_op"),
        ("unchanged", "cpu_s_per_op"),
    ]
    assert [c.verdict for c in ordered(CHANGES, "unchanged", "improved")] == ["improved", "unchanged"]


def test_what_would_have_been_found_stands_behind_the_margin_of_what_is_undecided():
    for verdict in ("inconclusive", "contaminated"):
        assert margin(fake_change(verdict=verdict, detectable=0.6)) == "10 % (detectable: 60 %)"
        assert margin(fake_change(verdict=verdict, detectable=None)) == "10 %"
    assert margin(fake_change(verdict="regressed", detectable=0.6)) == "10 %"
    zero = fake_change(
        "log_records_per_op",
        "inconclusive",
        ratio=None,
        ci_low=None,
        ci_high=None,
        margin=0.01,
        detectable=0.2,
    )
    assert margin(zero) == "0.01 /op (detectable: 0.2 /op)"


@pytest.mark.parametrize("margin_", [0.0, 0.1])
def test_changes_without_a_ratio_or_a_margin_have_their_place(margin_):
    small = fake_change(ratio=None, base=0.0, candidate=1e-6, margin=margin_)
    large = fake_change(ratio=None, base=0.0, candidate=1.0, margin=0.1)
    assert ordered([small, large])[0] is (large if margin_ else small)


def test_counts_name_only_what_there_is():
    assert counts(CHANGES) == "2 regressed, 1 improved, 1 contaminated, 1 inconclusive, 1 unchanged"
    assert counts([]) == "nothing was compared"


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (fake_change(), ("+23.0 %", "[+19.0, +27.0] %", "10 %")),
        (
            fake_change(ratio=0.5, ci_low=0.4, ci_high=1.0),
            ("\N{MINUS SIGN}50.0 %", "[\N{MINUS SIGN}60.0, 0] %", "10 %"),
        ),
        (fake_change(ratio=3.5, ci_low=None, ci_high=None), ("+250.0 %", "—", "10 %")),
        (
            fake_change("log_records_per_s", ratio=None, ci_low=None, ci_high=None, base=0, candidate=0.25,
                        margin=0.05),
            ("+0.250 /s", "—", "0.05 /s"),
        ),
        (fake_change(ratio=1.0, ci_low=1.0, ci_high=1.0), ("0", "[0, 0] %", "10 %")),
    ],
)  # fmt: skip
def test_a_change_is_signed_and_has_a_unit(change, texts):
    assert (shift(change), bounds(change), margin(change)) == texts


def test_a_sentence_tells_both_values_the_change_and_why():
    assert summary(fake_change()) == (
        "100 µs → 123 µs: +23.0 % [+19.0, +27.0] %, margin 10 %, n = 10: beyond the margin, p = 0.0021 (Holm)"
    )


def test_rates_are_told_with_their_bounds_or_as_missing():
    text = reliability(RATES)
    assert "0 of 300 comparisons of the same code raised a false alarm (at most 0.994 %" in text
    found = "290 of 300 slow-downs of the detectable size were found (at least 94.4 %), and 210 of 300 of"
    assert f"{found} twice the usual margin" in text
    assert reliability(None).startswith(NOT_CALIBRATED)


def test_the_last_line_is_the_verdict_and_its_reason():
    assert verdict_line(fake_comparison()) == (
        "REGRESSED: 2 of 6 metrics regressed, first push rpc_ping latency_p99_s"
    )


def test_the_unchanged_come_after_all_that_matters():
    titles = [section.title for section in sections(fake_comparison())]
    assert titles[:2] == ["Verdict", "Changes"]
    assert titles.index("Unchanged") > titles.index("Warnings")
    by_title = {section.title: section.parts[0] for section in sections(fake_comparison())}
    assert len(by_title["Changes"].rows) == 5
    assert len(by_title["Unchanged"].rows) == 1
    facts = dict(by_title["How to reproduce"].rows)
    assert facts["Command"] == "fedbench ab main 0a1b2c3 --blocks 10"
    assert facts["CPU"] == "Example Processor 3.0 GHz"


def test_a_comparison_of_nothing_is_a_document_too():
    empty = fake_comparison(changes=[], not_compared=[], warnings=[], rates=None, paired=False)
    by_title = {section.title: section.parts[0] for section in sections(empty)}
    assert by_title["Changes"].text == by_title["Unchanged"].text == "None."
    assert NOT_CALIBRATED in by_title["How often this errs"].text
