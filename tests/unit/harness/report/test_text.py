import io
from pathlib import Path

import msgspec
from rich.console import Console

from harness.report.text import cells_table, criteria_table, verdict_line
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
    criterion = msgspec.structs.replace(CRITERIA[1], id="\x1b[1mx", reason="[bold]as it is[/bold]\x1b[31m")
    text = printed(bare_run(criteria=[criterion]), 200)
    assert "[bold]as it is[/bold]" in text
    assert "\x1b" not in text
    assert "contaminated" in printed(fake_run(), 70)


def test_the_last_line_is_verdict_reason_and_report():
    assert verdict_line(fake_run(), Path("results/x/report.html")) == (
        "FAIL: 1 contaminated, 1 fail, 2 inconclusive, 7 pass; first failed: memory — results/x/report.html"
    )


def test_every_cell_is_a_row_with_the_first_metric_it_has():
    stream = io.StringIO()
    Console(file=stream, width=120).print(cells_table(fake_run()))
    rows = [line.split() for line in stream.getvalue().splitlines()[3:] if line.strip()]
    assert [row[0] for row in rows] == sorted(cell.workload for cell in fake_run().cells)
    assert ["broadcast", "push_asyncio", "failed", "4"] in [row[:4] for row in rows]
    assert ["floors", "unsupported", "0"] in [row[1:] for row in rows]
    idle = next(row for row in rows if row[:2] == ["idle_federation", "push"])
    assert idle[-1] == "cores"
    rounds = next(row for row in rows if row[:2] == ["digits_training", "push"])
    assert rounds[5] in ("ms", "µs")
