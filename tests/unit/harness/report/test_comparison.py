import json

import msgspec
import pytest

from fedbench.errors import ConfigError
from harness.records.schema import ComparisonRecord
from harness.report.comparison import FORMATS, render_comparison
from tests.fakes.comparisons import fake_comparison, hostile_comparison
from tests.unit.harness.report.test_html import Page


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_ends_with_a_line_break_and_is_the_same_again(format):
    text = render_comparison(fake_comparison(), format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert render_comparison(fake_comparison(), format) == text


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"json"}))
def test_no_format_passes_on_what_a_terminal_would_obey(format):
    assert "\x1b" not in render_comparison(hostile_comparison(), format)


def test_an_unknown_format_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no format 'pdf': use one of text, json, md"):
        render_comparison(fake_comparison(), "pdf")


def test_text_ends_with_verdict_and_reason():
    lines = render_comparison(fake_comparison(), "text").splitlines()
    assert lines[-1].startswith("REGRESSED: 2 of 6 metrics regressed")
    assert not any(line.endswith(" ") for line in lines)


def test_json_is_the_record():
    text = render_comparison(fake_comparison(), "json")
    assert msgspec.json.decode(text, type=ComparisonRecord) == fake_comparison()
    assert json.loads(text)["changes"][0]["metric"] == "cpu_s_per_op"


def test_markdown_has_a_row_for_every_change():
    text = render_comparison(fake_comparison(), "md")
    assert text.startswith("# main → 0a1b2c3: REGRESSED\n\n## Verdict\n\n2 of 6 metrics regressed")
    assert text.count("| **regressed** | `push` |") == 2
    assert "| **unchanged** | `push` | `rpc_ping` | `cpu_s_per_op` |" in text


def test_the_page_looks_like_that_of_a_run():
    text = render_comparison(fake_comparison(), "html")
    page = Page(text)
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 1  # what sorts tables
    assert '<h1 class="verdict-regressed">main → 0a1b2c3: REGRESSED</h1>' in text
    assert '<td class="verdict verdict-improved">improved</td>' in text
    assert text.count("<table>") == text.count('<div class="scroll" tabindex="0"') == 3
    assert "prefers-color-scheme: dark" in text


def test_what_others_wrote_cannot_break_the_page():
    text = render_comparison(hostile_comparison(), "html")
    assert Page(text).tags.count("script") == 1
    assert "&lt;script&gt;" in text
