"""A comparison as test cases, for continuous integration. Pure.

A case for each change: regressed is a failure, improved and unchanged pass. Inconclusive and contaminated are
skipped, which is what JUnit calls a case that was run for nothing: CI systems list them apart from those that
passed, with their message, and a handful of metrics in the noise does not hide the one that regressed among
errors. So that nobody takes skipped for passed, one more case is the verdict of the whole: it passes only
where the comparison does, and is an error where it was not decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.records.format import clean
from harness.report.changes import ordered, summary

if TYPE_CHECKING:
    from harness.records.schema import Change, ComparisonRecord

_ATTRIBUTES = (("failure", "failures"), ("error", "errors"), ("skipped", "skipped"))
_OUTCOMES = {"regressed": "failure", "inconclusive": "skipped", "contaminated": "skipped"}


def changes_junit(record: ComparisonRecord) -> str:
    """Return a JUnit XML document: a case for the verdict and for each change."""
    suite = Element(
        "testsuite", name=f"fedbench.{record.kind}", timestamp=clean(record.created_utc), time="0"
    )
    case = SubElement(suite, "testcase", classname=f"{record.kind}.verdict", name="verdict", time="0")
    if record.exit_code:
        _outcome(case, "failure" if record.exit_code == 1 else "error", record.verdict, record.reason)
    for change in ordered(record.changes):
        _change(suite, record.kind, change)
    cases = list(suite)
    suite.set("tests", str(len(cases)))
    for outcome, attribute in _ATTRIBUTES:
        suite.set(attribute, str(sum(case.find(outcome) is not None for case in cases)))
    indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def _change(suite: Element, kind: str, change: Change) -> None:
    classname = clean(f"{kind}.{change.arm}.{change.workload}")
    case = SubElement(suite, "testcase", classname=classname, name=clean(change.metric), time="0")
    outcome = _OUTCOMES.get(change.verdict)
    if outcome is not None:
        _outcome(case, outcome, change.verdict, summary(change))


def _outcome(case: Element, outcome: str, kind: str, message: str) -> None:
    SubElement(case, outcome, type=clean(kind), message=clean(message))
