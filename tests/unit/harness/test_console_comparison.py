from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fedbench.errors import ConfigError
from harness.console import print_comparison
from harness.report.comparison import FORMATS, render_comparison
from tests.fakes.comparisons import fake_comparison


def printed(format: str, output: Path | None = None, **options: object) -> str:
    stream = StringIO()
    print_comparison(fake_comparison(), format, output, Console(file=stream, width=120, **options))
    return stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_other_programs_get_exactly_what_is_rendered(tmp_path: Path, format: str) -> None:
    expected = render_comparison(fake_comparison(), format)
    assert printed(format) == expected
    output = tmp_path / "rendered"
    assert printed(format, output) == ""
    assert output.read_text(encoding="utf-8") == expected


def test_a_terminal_gets_colours_and_its_width_and_the_verdict_last() -> None:
    text = printed("text", force_terminal=True, color_system="standard")
    assert "\x1b[1;31mregressed" in text
    assert text.splitlines()[-1].startswith("REGRESSED: 2 of 6")
    assert printed("md", force_terminal=True) == render_comparison(fake_comparison(), "md")


def test_nothing_is_written_where_something_is_wrong(tmp_path: Path) -> None:
    output = tmp_path / "kept"
    output.write_text("before")
    with pytest.raises(ConfigError, match="no format 'pdf'"):
        printed("pdf", output)
    assert output.read_text() == "before"
    with pytest.raises(IsADirectoryError):
        printed("md", tmp_path)
