import io
from pathlib import Path

import msgspec
from rich.console import Console

from harness.report.text import criteria_table, verdict_line
from tests.fakes.results import CRITERIA, bare_run, fake_run


def printed(run, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(criteria_table(run))
    return stream.getvalue()


def test_every_criterion_is_a_row_with_its_verdict():
    lines = printed(fake_run(), 160).splitlines()
    for c in CRITERIA:
        assert any(c.id in line and c.verdict in line for line in lines)


def test_the_interval_is_no_markup_and_a_narrow_terminal_keeps_the_verdicts():
    assert "[98.7, 99.59] %" in printed(fake_run(), 160)
    criterion = msgspec.structs.replace(CRITERIA[1], reason="[bold]as it is[/bold]\x1b[31m")
    text = printed(bare_run(criteria=[criterion]), 200)
    assert "[bold]as it is[/bold]" in text
    assert "\x1b" not in text
    assert "contaminated" in printed(fake_run(), 70)


def test_the_last_line_is_verdict_reason_and_report():
    assert verdict_line(fake_run(), Path("results/x/report.html")) == (
        "FAIL: 1 contaminated, 1 fail, 2 inconclusive, 7 pass; first failed: memory — results/x/report.html"
    )
