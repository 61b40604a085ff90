import msgspec
import pytest

from fedbench.errors import ConfigError
from harness.report.comment import MOST_CHARACTERS, comment, marker
from tests.fakes.comparisons import HOSTILE, fake_change, fake_comparison, hostile_comparison


def test_the_first_line_is_the_marker_and_only_changed_rows_are_there():
    lines = comment(fake_comparison()).splitlines()
    assert lines[0] == "<!-- fedbench:ab -->"
    assert lines[1] == "### fedbench: main → 0a1b2c3: REGRESSED"
    rows = [line for line in lines if line.startswith("| **")]
    assert [row.split()[1] for row in rows] == [
        "**regressed**", "**regressed**", "**improved**", "**contaminated**",
    ]  # fmt: skip
    assert "`push/rpc_ping/latency_p99_s` | 100 µs | 190 µs | +90.0 % [+70.0, +110.0] % | 25 % |" in rows[0]
    assert "wakeups_per_op" not in "\n".join(lines)
    assert lines[3] == (
        "**3 changed, 1 unchanged, 2 undecided** "
        "(2 regressed, 1 improved, 1 contaminated, 1 inconclusive, 1 unchanged)."
    )


def test_rates_warnings_and_how_to_reproduce_are_told():
    text = comment(fake_comparison())
    assert "0 of 300 comparisons of the same code raised a false alarm" in text
    assert "- the machine was busy: load 3.1 on 2 cores" in text
    assert "\n    fedbench ab main 0a1b2c3 --blocks 10\n" in text
    assert "not calibrated here" in comment(fake_comparison(rates=None))


def test_what_is_undecided_is_not_told_as_unchanged():
    changes = [
        fake_change("wakeups_per_op", "unchanged"),
        *(fake_change(verdict="inconclusive", workload=f"w{i}") for i in "12"),
    ]
    text = comment(fake_comparison(changes=changes))
    assert "Nothing decided for 2 of 3 metrics; the others did not change." in text
    assert "**0 changed, 1 unchanged, 2 undecided**" in text
    assert "No metric changed" not in text
    assert "No metric changed." in comment(fake_comparison(changes=changes[:1]))


def test_a_comparison_without_changes_says_so():
    text = comment(fake_comparison(changes=[], warnings=[], not_compared=[]))
    assert "Nothing was compared." in text
    assert "No metric changed" not in text
    assert "|" not in text.replace("fedbench ab", "")


def test_comparisons_of_several_names_have_markers_of_their_own():
    assert comment(fake_comparison(), "nightly-2.x").startswith("<!-- fedbench:nightly-2.x -->\n")


@pytest.mark.parametrize("name", ["", "a b", "a--b", "-->", "a\n", "-a", "a-", "é"])
def test_a_name_that_would_break_the_marker_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name a comment"):
        marker(name)


@pytest.mark.parametrize("count", [150, 400, 1000])
def test_what_is_too_long_loses_the_least_important_rows_and_says_so(count):
    changes = [
        fake_change(workload=f"w{i}", ratio=2 + (count - i) / count, reason="r" * 400) for i in range(count)
    ]
    changes.append(fake_change("memory_peak_bytes", "improved"))
    text = comment(fake_comparison(changes=changes))
    assert MOST_CHARACTERS - 1000 < len(text) <= MOST_CHARACTERS
    kept = text.count("\n| **regressed**")
    assert 100 < kept < count
    assert f"**{count + 1 - kept} more changed rows are cut**: the full report has them." in text
    assert "push/w0/latency_p50_s" in text
    assert f"push/w{kept}/" not in text
    assert "How to reproduce" in text


def test_no_text_can_make_it_too_long():
    long = "|" * 100_000
    change = fake_change(arm=long, workload=long, reason=long)
    text = comment(
        fake_comparison(
            changes=[change] * 50,
            not_compared=[long] * 50,
            warnings=[long] * 50,
            environment={"commit": long},
            **dict.fromkeys(("base", "candidate", "command", "created_utc", "verdict", "reason"), long),
        )
    )
    assert len(text) <= MOST_CHARACTERS
    assert "- and 40 more, in the full report" in text


def test_what_others_wrote_cannot_break_the_comment():
    text = comment(hostile_comparison())
    assert text.count("<!--") == 1
    assert text.splitlines()[0] == "<!-- fedbench:ab -->"
    body = text.replace(f"    {' '.join(HOSTILE.split())}"[:4], "    ")
    assert "<script>" not in "".join(
        line.replace("\\<", "") for line in body.splitlines() if not line.startswith("    ")
    )
    row = next(line for line in text.splitlines() if line.startswith("| **"))
    assert row.replace(r"\|", "").count("|") == 8


def test_nobody_is_called_by_what_a_warning_says():
    record = msgspec.structs.replace(
        fake_comparison(), warnings=["by @octocat, see #12"], reason="# @octocat"
    )
    text = comment(record)
    assert "- by @&#8203;octocat, see #&#8203;12" in text
    assert "\n\\# @&#8203;octocat." in text
    assert "@octocat" not in text
