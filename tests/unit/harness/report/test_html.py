import re
from html.parser import HTMLParser

import msgspec
import pytest

from harness.report.html import html
from harness.report.plots import plots
from tests.fakes.results import CRITERIA, bare_run, fake_observations, fake_run

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Collects ids and attributes, and checks that every element is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.tags, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for key, value in attributes if key == "id"]
        self.references += [
            value for key, value in attributes if key in ("href", "src", "xlink:href", "data")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    return html(fake_run(), plots(fake_run(), fake_observations()))


def test_ids_are_unique_over_all_plots(page):
    ids = Page(page).ids
    assert ids
    assert len(set(ids)) == len(ids)


def test_every_reference_stays_inside_or_beside_the_page(page):
    parsed = Page(page)
    inside = {f"#{i}" for i in parsed.ids}
    beside = {"run.json", "observations.jsonl", "samples.csv.gz", "junit.xml"}
    assert set(parsed.references) - inside == beside
    assert {f"#{i}" for i in re.findall(r"url\(#([^)]+)\)", page)} <= inside
    assert not re.search(r"url\((?!#)|@import", page)


def test_the_page_needs_no_script_and_nothing_fetched(page):
    assert not {"script", "link", "img", "iframe", "object"} & set(Page(page).tags)


def test_every_table_can_scroll_and_every_plot_is_there(page):
    assert page.count("<table>") == page.count('<div class="scroll" tabindex="0">') > 0
    assert Page(page).tags.count("svg") == 5


def test_light_dark_and_print_are_provided_for(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "currentColor" in page


def test_the_verdict_is_marked_and_a_value_parted_from_its_interval(page):
    assert '<h1 class="verdict-fail">Push against polling, quick: FAIL</h1>' in page
    assert '<td class="verdict verdict-contaminated">contaminated</td>' in page
    assert re.search(r'<td class="number">[\d.]+ µs<small>\[[\d.]+, [\d.]+\] µs</small></td>', page)


def test_what_others_wrote_cannot_break_the_page():
    hostile = "<script>alert('x')</script>\n& \x1b[0m"
    criterion = msgspec.structs.replace(CRITERIA[0], reason=hostile, title="")
    text = html(bare_run(criteria=[criterion], warnings=[hostile], title=hostile), {})
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
