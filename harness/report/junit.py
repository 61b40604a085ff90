"""The criteria as test cases, for continuous integration. Pure.

Only a pass is a passed test case: a failed criterion is a failure; one that is inconclusive or contaminated
is an error whose type is the verdict, because a skipped test case would be taken for a success. Of a
run whose exit code is not 0 at least one case does not pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.records.format import clean
from harness.report.criteria import bounds, measured, target

if TYPE_CHECKING:
    from harness.records.schema import CellRecord, CriterionRecord, RunRecord


def junit(run: RunRecord) -> str:
    """Return a JUnit XML document: a case for the run, for each criterion and for each failed cell."""
    suite = Element(
        "testsuite",
        name=clean(f"fedbench.{run.suite}"),
        timestamp=clean(run.started_utc),
        time=f"{run.duration_s:.3f}",
        skipped="0",
    )
    _run(suite, run)
    for criterion in run.criteria:
        _criterion(suite, run, criterion)
    for cell in run.cells:
        if cell.status in ("failed", "timeout"):
            _cell(suite, run, cell)
    if run.exit_code and not any(len(case) for case in suite):
        case = _case(suite, f"{run.suite}.run", "verdict")
        _outcome(case, "error", run.verdict, run.reason)
    cases = list(suite)
    for outcome, attribute in ((None, "tests"), ("failure", "failures"), ("error", "errors")):
        found = cases if outcome is None else [case for case in cases if case.find(outcome) is not None]
        suite.set(attribute, str(len(found)))
    indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def _run(suite: Element, run: RunRecord) -> None:
    case = _case(suite, f"{run.suite}.run", "ran to its end")
    if run.ended != "complete" or not run.cells:
        _outcome(case, "error", run.ended if run.cells else "nothing", run.reason)


def _criterion(suite: Element, run: RunRecord, c: CriterionRecord) -> None:
    case = _case(suite, f"{run.suite}.{c.mode}.criteria", f"{c.id}: {c.title}")
    if c.verdict == "pass":
        return
    numbers = " ".join(filter(None, (measured(c), bounds(c, c.unit))))
    told = f"{numbers}, target {target(c)}, n = {c.n}"
    message = ": ".join(part for part in (told, c.reason, *c.void) if part)
    _outcome(case, "failure" if c.verdict == "fail" else "error", c.verdict, message)


def _cell(suite: Element, run: RunRecord, cell: CellRecord) -> None:
    case = _case(suite, f"{run.suite}.{cell.mode}.cells", f"{cell.arm} {cell.workload}")
    _outcome(case, "error", cell.status, "; ".join(cell.reasons) or cell.status)


def _case(suite: Element, classname: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=clean(classname), name=clean(name), time="0")


def _outcome(case: Element, outcome: str, kind: str, message: str) -> None:
    SubElement(case, outcome, type=clean(kind), message=clean(message))
