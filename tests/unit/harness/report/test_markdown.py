import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.records.schema import RunRecord
from harness.report.markdown import markdown
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
    row = next(line for line in text.splitlines() if line.startswith(r"| a\|\`b |"))
    assert row.replace(r"\|", "").count("|") == 9


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
