from xml.etree import ElementTree

import msgspec
import pytest

from harness.acceptance.outcome import conclude
from harness.records.summary import summarise
from harness.report.junit import junit
from tests.fakes.results import CRITERIA, bare_run, fake_observations, fake_run


def cases(run):
    return {case.get("name"): case for case in ElementTree.fromstring(junit(run)).iter("testcase")}


def test_only_a_pass_passes():
    by_name = cases(fake_run())
    for c in CRITERIA:
        children = [child.tag for child in by_name[f"{c.id}: {c.title}"]]
        expected = {"pass": [], "fail": ["failure"]}.get(c.verdict, ["error"])
        assert children == expected, c.id


def test_the_counts_are_those_of_the_cases():
    suite = ElementTree.fromstring(junit(fake_run()))
    assert (suite.tag, suite.get("name")) == ("testsuite", "fedbench.quick")
    assert int(suite.get("tests")) == len(list(suite)) == 1 + len(CRITERIA) + 1
    assert int(suite.get("failures")) == len(list(suite.iter("failure"))) == 1
    assert int(suite.get("errors")) == len(list(suite.iter("error"))) == 4
    assert suite.get("skipped") == "0"


def test_a_failure_says_what_was_measured_and_why():
    failure = cases(fake_run())["memory: Peak memory through rounds"].find("failure")
    assert failure.get("type") == "fail"
    assert failure.get("message") == (
        "39.3 % [38.8, 39.9] %, target ≥ 50 %, n = 5: the whole interval misses the target"
    )


def test_the_type_of_an_error_is_the_verdict():
    error = cases(fake_run())["cpu-round: CPU per round"].find("error")
    assert error.get("type") == "contaminated"


def test_a_failed_cell_is_an_error_and_an_unsupported_one_is_not():
    by_name = cases(fake_run())
    error = by_name["push_asyncio broadcast"].find("error")
    assert error.get("type") == "failed"
    assert error.get("message").startswith("the worker ended with SIGKILL")
    assert "floors broadcast" not in by_name


def test_a_timeout_without_a_reason_still_has_a_message():
    cell = msgspec.structs.replace(fake_run().cells[0], status="timeout", reasons=[])
    error = cases(bare_run(cells=[cell]))[f"{cell.arm} {cell.workload}"].find("error")
    assert (error.get("type"), error.get("message")) == ("timeout", "timeout")


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (bare_run(), "nothing"),
        (bare_run(cells=fake_run().cells[:1], ended="interrupted"), "interrupted"),
        (bare_run(cells=fake_run().cells[:1], ended="budget"), "budget"),
    ],
)
def test_a_run_that_did_not_end_well_is_an_error_by_itself(run, kind):
    assert cases(run)["ran to its end"].find("error").get("type") == kind
    assert cases(fake_run())["ran to its end"].find("error") is None


@pytest.mark.parametrize(
    ("status", "dropped", "kind"), [("unsupported", 0, "nothing ran"), ("ok", 3, "inconclusive")]
)
def test_no_run_that_is_not_green_is_green_here(status, dropped, kind):
    """Where nothing ran, or a filter left no criterion, no case would say so."""
    made = [msgspec.structs.replace(fake_observations()[0], status=status)]
    outcome = conclude([], made, "complete", dropped=dropped)
    run = bare_run(
        cells=summarise(made),
        verdict=outcome.verdict,
        reason=outcome.reason,
        exit_code=int(outcome.exit_code),
    )
    error = cases(run)["verdict"].find("error")
    assert (error.get("type"), error.get("message")) == (kind, outcome.reason)
    assert ElementTree.fromstring(junit(run)).get("errors") == "1"
    assert "verdict" not in cases(fake_run())


def test_characters_that_xml_forbids_do_not_break_it():
    criterion = msgspec.structs.replace(CRITERIA[1], reason='\x1b[31m <&"\x00 \ufffe')
    by_name = cases(bare_run(criteria=[criterion]))
    assert '<&"' in by_name["cpu-round: CPU per round"].find("error").get("message")
    cell = msgspec.structs.replace(fake_run().cells[0], arm="a\x01", mode="m\x01", status="failed")
    hostile = {"suite": "s\x01", "started_utc": "a\x01", "verdict": "v\x01", "ended": "budget"}
    odd = msgspec.structs.replace(CRITERIA[1], id="x\x0bb", title="t\x02", mode="m\x03")
    for run in (bare_run(**hostile, cells=[cell], criteria=[odd]), bare_run(**hostile)):
        assert "\ufffd" in ElementTree.fromstring(junit(run)).get("timestamp")
