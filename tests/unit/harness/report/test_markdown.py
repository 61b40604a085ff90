from pathlib import Path

import msgspec

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


def test_a_run_without_anything_is_a_report_too():
    text = markdown(bare_run(), {})
    assert text.startswith(
        "# Push against polling, quick: NOTHING RAN\n\n## Verdict\n\nno cell was measured.\n"
    )
    assert "![" not in text
    assert text.endswith("\n")
