import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.records.schema import RunRecord
from harness.report.markdown import cell, escape, markdown
from tests.fakes.promises import promise_run
from tests.fakes.results import CRITERIA, PLOT_PATHS, bare_run, fake_material, fake_run

GOLDEN = Path(__file__).parents[3] / "golden" / "report.md"


def test_the_report_is_the_expected_one():
    """Made anew by ``python -m tests.fakes.results > tests/golden/report.md``; read the difference."""
    assert markdown(fake_run(), PLOT_PATHS, fake_material()) == GOLDEN.read_text(encoding="utf-8")


def test_what_others_wrote_cannot_break_the_page():
    hostile = "a|b `c` *d* <script>\n# no heading [x](javascript:1) \\ ~~e~~"
    criterion = msgspec.structs.replace(CRITERIA[0], id="a|`b", reason=hostile)
    text = markdown(bare_run(criteria=[criterion], warnings=[hostile]), {})
    escaped = r"a\|b \`c\` \*d\* \<script> # no heading [x\](javascript:1) \\ \~\~e\~\~"
    assert f"| {escaped} |" in text
    assert f"- {escaped}\n" in text
    row = next(line for line in text.splitlines() if line.startswith(r"| a\|\`b<br>"))
    assert row.replace(r"\|", "").count("|") == 7


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@octocat failed", "@&#8203;octocat failed"),
        ("by @octo-org/team", "by @&#8203;octo-org/team"),
        ("polling@0.5 and a@b.example", "polling@0.5 and a@b.example"),
        ("fixes #12, o/r#12", "fixes #&#8203;12, o/r#&#8203;12"),
        ("# heading", r"\# heading"),
        ("#1 heading", r"\#&#8203;1 heading"),
        ("&lt;b&gt; &#60; R&D; a & b", r"\&lt;b\&gt; \&#&#8203;60; R\&D; a & b"),
        ("_x_ __y__ push_network _a", r"\_x\_ \_\_y\_\_ push_network \_a"),
        ("$a$", r"\$a\$"),
        ("1. one", r"1\. one"),
        ("12) one", r"12\) one"),
        ("1.5 ms", "1.5 ms"),
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("+12 %", "+12 %"),
        ("> quote", r"\> quote"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("[x] task", r"\[x] task"),
        ("[x]: http://a.example", r"\[x\]: http://a.example"),
    ],
)
def test_text_stays_text_and_calls_nobody(text, shown):
    assert escape(text) == shown


def test_the_lines_of_a_cell_stay_lines():
    assert cell("cpu-idle\nCPU *falls*", "code") == r"`cpu-idle`<br>CPU \*falls\*"
    assert cell("", "text") == ""
    table = markdown(promise_run(), {"promises": "plots/promises.svg"}, fake_material())
    assert "| CPU idle | ✓ 99.92 % less<br>[99.91, 99.92] | ✓ 99.59 % less<br>" in table
    assert table.index("](plots/promises.svg)") < table.index("## Criteria")


def test_names_in_code_are_as_they_are():
    assert cell("push_network", "code") == "`push_network`"
    assert cell("@octocat_$x$", "code") == "`@octocat_$x$`"


def leaves(value, path=()):
    """Return the path of everything in plain data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *leaves(inner, (*path, key))]]


PLAIN = msgspec.to_builtins(fake_run())
PATHS: dict[str, list[tuple[Any, ...]]] = {}
for place in leaves(PLAIN):
    PATHS.setdefault(place[0], []).append(place)
ODD = (None, -1, 0, 1e308, 1e-320, True, "x", "\x1b<a>", [], {}, [1, "a"])


@pytest.mark.slow
@given(st.sampled_from(sorted(PATHS)).flatmap(lambda top: st.sampled_from(PATHS[top])), st.sampled_from(ODD))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_record_edited_by_hand_is_refused_or_reported(path, value):
    edited = copy.deepcopy(PLAIN)
    target = edited
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    try:
        run = msgspec.convert(edited, RunRecord)
    except msgspec.ValidationError:
        return  # reading it says so
    assert markdown(run, {}, fake_material()).startswith("# ")


def test_a_run_without_anything_is_a_report_too():
    text = markdown(bare_run(), {})
    assert text.startswith(
        "# Push against polling, quick: NOTHING RAN\n\n## Verdict\n\nno cell was measured.\n"
    )
    assert "![" not in text
    assert text.endswith("\n")
