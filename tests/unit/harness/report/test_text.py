import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from harness.report.criteria import ordered
from harness.report.text import (
    cells_table,
    criteria_lines,
    opening,
    print_criteria,
    print_lines,
    print_table,
    verdict_line,
)
from tests.fakes.promises import promise_run
from tests.fakes.results import CRITERIA, bare_run, fake_run


def printed(show, width=80, *, terminal=False):
    """Return what ``show`` prints on a console; a narrow one without a terminal is a pipe's."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, no_color=True, record=True)
    show(console)
    return console.export_text()


def criteria(run, width=80, *, terminal=False):
    return printed(lambda console: print_criteria(console, run), width, terminal=terminal)


def test_every_criterion_is_a_row_with_its_verdict_and_what_failed_is_first():
    lines = criteria(fake_run()).splitlines()
    rows = [next(line for line in lines if line.startswith(f"{c.id} ")) for c in CRITERIA]
    assert all(c.verdict in row for c, row in zip(CRITERIA, rows, strict=True))
    assert sorted(rows, key=lines.index) == [rows[CRITERIA.index(c)] for c in ordered(CRITERIA)]
    assert lines[2].split()[:3] == ["memory", "✗", "fail"]
    assert lines[3] == "    the whole interval misses the target"


def test_what_stands_beside_a_criterion_is_printed_below_it():
    lines = criteria(promise_run()).splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("cpu-idle "))
    assert lines[row + 1] == (
        "    beside: without warnings: 95.9 % [94.9, 96.9] %; with one id: 91.9 % [90.9, 92.9] %; "
        "at 10 ms: 87.9 % [86.9, 88.9] %; at 100 ms: — (not measured in quick)"
    )
    text = "\n".join(lines)
    assert "    note: the legacy copied messages in memory mode" in text
    assert "    disturbed: push_process push_processes: 4 of 6 blocks, 2 attempts: cc1plus (4242)" in text


def test_markup_and_control_characters_stay_text():
    assert "[98.7, 99.59] %" in criteria(fake_run())
    criterion = msgspec.structs.replace(CRITERIA[1], id="\x1b[1mx", reason="[bold]as it is[/bold]\x1b[31m")
    text = criteria(bare_run(criteria=[criterion]))
    assert "[bold]as it is[/bold]" in text
    assert "\x1b" not in text


def test_without_a_terminal_no_line_is_cut_or_broken():
    long = "because " * 60
    criterion = msgspec.structs.replace(CRITERIA[1], id="x" * 120, reason=long, note=long)
    run = bare_run(criteria=[criterion])
    lines = criteria(run, 20).splitlines()
    assert any(line.startswith("x" * 120 + "  ") and line.endswith(f"{criterion.n}") for line in lines)
    assert f"    {long.strip()}" in lines
    assert "…" not in criteria(run, 20)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("run", [fake_run(), promise_run()], ids=["old", "promises"])
def test_a_terminal_breaks_between_words_and_keeps_all(run, width):
    shown = criteria(run, width, terminal=True)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    wide = criteria(run, 1000, terminal=True)
    assert words(shown) == words(wide)


def words(text):
    """Return the words of a table; where an interval has a line of its own, none has no dash."""
    return sorted(word for word in text.split() if word not in ("interval", "—"))


def test_a_narrow_terminal_has_the_intervals_below_the_values():
    narrow, wide = ([line.text.plain for line in criteria_lines(promise_run(), width)] for width in (40, 200))
    assert "interval [42.5, 51.8] %" in narrow
    assert not any(line.startswith("interval ") for line in wide)
    assert any("48.7 %  " in line and "[42.5, 51.8] %" in line for line in wide)


def test_a_run_opens_with_its_promises_by_mode_or_with_nothing():
    lines = printed(lambda console: print_lines(console, opening(promise_run()))).splitlines()
    assert lines[0].startswith("Push against polling: CPU idle 98.7 to 99.92 % less, ")
    assert lines[0].endswith("log records 100 % less.")
    assert lines[2].split() == ["memory", "process", "network"]
    assert lines[3].split("  ")[0] == "CPU idle"
    places = [lines[2].index(mode) for mode in ("memory", "process", "network")]
    assert [lines[3][place] for place in places] == ["✓", "✓", "✓"]
    assert [lines[4][place] for place in places] == ["[", "[", "["]
    assert max(map(len, lines[2:])) <= 80
    seen = printed(lambda console: print_lines(console, opening(promise_run())), 100, terminal=True)
    assert "\n\n" in seen
    assert opening(fake_run()) == []


def test_a_table_is_as_wide_as_it_is_without_a_terminal():
    long = msgspec.structs.replace(fake_run().cells[0], arm="a" * 90)
    run = bare_run(cells=[long])
    assert "a" * 90 in printed(lambda console: print_table(console, cells_table(run)), 40)
    cut = printed(lambda console: print_table(console, cells_table(run)), 40, terminal=True)
    assert max(map(len, cut.splitlines())) <= 40


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
