import re

import pytest

from harness.report.annotations import SHOWN, command, workflow_commands
from tests.fakes.comparisons import fake_change, fake_comparison, hostile_comparison

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\n\r]*)::([^\n\r]*)")


def parsed(record):
    """As the runner reads them: level, title and message, unescaped."""
    found = []
    for line in workflow_commands(record).splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        found.append((match[1], *(unescaped(text) for text in match.groups()[1:])))
    return found


def unescaped(text):
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_the_verdict_is_first_and_each_change_has_the_level_of_its_verdict():
    found = parsed(fake_comparison())
    assert [(level, title) for level, title, _ in found] == [
        ("error", "fedbench ab: regressed"),
        ("error", "regressed: push rpc_ping latency_p99_s"),
        ("error", "regressed: push rpc_ping latency_p50_s"),
        ("warning", "contaminated: push fedavg_round log_warnings_per_op"),
        ("warning", "inconclusive: push rpc_ping wakeups_per_op"),
        ("notice", "improved: push memory_round memory_peak_bytes"),
        ("warning", "fedbench"),
    ]
    assert "100 µs → 123 µs: +23.0 % [+19.0, +27.0] %" in found[2][2]
    assert "0 of 300 comparisons" in found[0][2]


@pytest.mark.parametrize(("code", "level"), [(0, "notice"), (1, "error"), (4, "warning"), (5, "warning")])
def test_the_level_of_the_verdict_is_that_of_the_exit_code(code, level):
    assert parsed(fake_comparison(changes=[], exit_code=code))[0][0] == level


@pytest.mark.parametrize("verdict", ["regressed", "inconclusive", "improved"])
@pytest.mark.parametrize("code", [0, 1, 4])
def test_no_more_than_github_shows_and_the_others_are_named(verdict, code):
    changes = [fake_change(verdict=verdict, workload=f"w{i:02}") for i in range(40)]
    found = parsed(fake_comparison(changes=changes, exit_code=code, warnings=["careful"] * 7))
    for level in ("error", "warning", "notice"):
        assert sum(one[0] == level for one in found) <= SHOWN
    told = "\n".join(f"{title} {message}" for _, title, message in found)
    assert all(f"w{i:02}" in told for i in range(40))


def test_as_many_as_are_shown_need_no_others():
    changes = [fake_change(workload=f"w{i}") for i in range(SHOWN - 1)]
    titles = [title for _, title, _ in parsed(fake_comparison(changes=changes, warnings=[]))]
    assert len(titles) == SHOWN
    assert not any("more" in title for title in titles)


def test_what_others_wrote_cannot_end_a_command_or_begin_one():
    found = parsed(hostile_comparison())
    assert len(found) == 3
    assert "::error::x %" in found[0][2]
    assert command("error", "50 %, a:b", "50 %0A") == "::error title=50 %25%2C a%3Ab::50 %250A"
