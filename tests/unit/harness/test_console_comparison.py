from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fedbench.errors import ConfigError
from harness.console import print_comparison
from harness.report.comparison import FORMATS, render_comparison
from tests.fakes.comparisons import fake_comparison


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "comparison.json"
    path.write_text(render_comparison(fake_comparison(), "json"))
    return path


def printed(path: Path, format: str, output: Path | None = None, **options: object) -> str:
    stream = StringIO()
    print_comparison(path, format, output, Console(file=stream, width=120, **options))
    return stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_other_programs_get_exactly_what_is_rendered(path: Path, tmp_path: Path, format: str) -> None:
    expected = render_comparison(fake_comparison(), format)
    assert printed(path, format) == expected
    output = tmp_path / "rendered"
    assert printed(path, format, output) == ""
    assert output.read_text(encoding="utf-8") == expected


def test_a_terminal_gets_colours_and_its_width_and_the_verdict_last(path: Path) -> None:
    text = printed(path, "text", force_terminal=True, color_system="standard")
    assert "\x1b[1;31mregressed" in text
    assert text.splitlines()[-1].startswith("REGRESSED: 2 of 6")
    assert printed(path, "md", force_terminal=True) == render_comparison(fake_comparison(), "md")


def test_nothing_is_written_where_something_is_wrong(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "kept"
    output.write_text("before")
    with pytest.raises(ConfigError, match="no format 'pdf'"):
        printed(path, "pdf", output)
    path.write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        printed(path, "md", output)
    assert output.read_text() == "before"
    path.write_text(render_comparison(fake_comparison(), "json"))
    with pytest.raises(IsADirectoryError):
        printed(path, "md", tmp_path)
