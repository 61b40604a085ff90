import io

from rich.console import Console

from harness.report.changes_text import changes_table
from tests.fakes.comparisons import CHANGES, fake_comparison, hostile_comparison


def printed(record, width=160, **options):
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(changes_table(record))
    return stream.getvalue()


def test_what_regressed_comes_first_and_the_unchanged_are_counted_only():
    lines = [line.strip() for line in printed(fake_comparison()).splitlines()]
    start = next(i for i, line in enumerate(lines) if "──" in line) + 1
    rows = lines[start : lines.index("", start)]
    assert [row.split()[0] for row in rows] == [
        "regressed", "regressed", "improved", "contaminated", "inconclusive",
    ]  # fmt: skip
    assert "latency_p99_s" in rows[0]
    assert "+90.0 %" in rows[0]
    assert "[+70.0, +110.0] %" in rows[0]
    assert not any("cpu_s_per_op" in line for line in lines)
    assert any(line.endswith("1 unchanged") for line in lines)


def test_reasons_warnings_and_rates_are_below_the_table():
    text = printed(fake_comparison(), width=1000)
    assert "push rpc_ping wakeups_per_op: inconclusive: the interval of 10 samples spans the margin" in text
    assert "not compared: push broadcast: only the candidate has it" in text
    assert "warning: the machine was busy" in text
    assert "0 of 300 comparisons of the same code" in text


def test_without_changes_there_is_no_table():
    same = [change for change in CHANGES if change.verdict == "unchanged"]
    text = printed(fake_comparison(changes=same, rates=None, not_compared=[], warnings=[]))
    assert text.splitlines()[0] == "1 unchanged"
    assert "not calibrated here" in text


def test_a_narrow_terminal_keeps_verdicts_and_values():
    text = printed(fake_comparison(), width=100)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "contaminated" in text
    assert "+23.0 %" in text


def test_what_others_wrote_is_no_markup_and_colours_nothing():
    text = printed(hostile_comparison(), width=400)
    assert "\x1b" not in text
    assert "[x](javascript:1)" in text


def test_colours_are_for_terminals():
    assert "\x1b[1;31mregressed" in printed(fake_comparison(), color_system="standard", force_terminal=True)
