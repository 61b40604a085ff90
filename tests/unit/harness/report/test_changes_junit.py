from xml.etree import ElementTree

import pytest

from harness.report.changes_junit import changes_junit
from tests.fakes.comparisons import CHANGES, fake_comparison, hostile_comparison


def suite(record):
    return ElementTree.fromstring(changes_junit(record))


def outcomes(record):
    return {
        (case.get("classname"), case.get("name")): [child.tag for child in case] for case in suite(record)
    }


def test_each_change_is_a_case_and_only_what_is_decided_passes_or_fails():
    found = outcomes(fake_comparison())
    expected = {"regressed": ["failure"], "inconclusive": ["skipped"], "contaminated": ["skipped"]}
    for change in CHANGES:
        case = found[f"ab.{change.arm}.{change.workload}", change.metric]
        assert case == expected.get(change.verdict, []), change.verdict


@pytest.mark.parametrize(("code", "outcome"), [(0, []), (1, ["failure"]), (4, ["error"]), (5, ["error"])])
def test_the_verdict_is_a_case_that_passes_only_where_the_comparison_does(code, outcome):
    record = fake_comparison(changes=[], exit_code=code, verdict="some", reason="of a reason")
    assert outcomes(record) == {("ab.verdict", "verdict"): outcome}


def test_the_counts_are_those_of_the_cases():
    found = suite(fake_comparison())
    assert (found.tag, found.get("name")) == ("testsuite", "fedbench.ab")
    assert int(found.get("tests")) == len(list(found)) == 1 + len(CHANGES)
    assert int(found.get("failures")) == len(list(found.iter("failure"))) == 3
    assert int(found.get("skipped")) == len(list(found.iter("skipped"))) == 2
    assert int(found.get("errors")) == 0


def test_an_outcome_says_what_was_measured_and_why():
    skipped = next(suite(fake_comparison()).iter("skipped"))
    assert skipped.get("type") == "contaminated"
    assert skipped.get("message") == (
        "0 → 0.250 /op: +0.250 /op, margin 0.001 /op, n = 10: "
        "the same code lay a factor 1.30 apart: that could explain it"
    )


def test_characters_that_xml_forbids_do_not_break_it():
    messages = [element.get("message", "") for element in suite(hostile_comparison()).iter()]
    assert any("<script>" in message for message in messages)
