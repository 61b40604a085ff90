import re
from html.parser import HTMLParser

import msgspec
import pytest

from harness.records.format import slugs
from harness.report.html import html
from harness.report.material import Material
from harness.report.plots import plots
from harness.report.sections import sections
from tests.fakes.promises import promise_run
from tests.fakes.results import CRITERIA, PLOT_NAMES, bare_run, fake_material, fake_observations, fake_run

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
    return html(fake_run(), plots(fake_run(), fake_observations()), fake_material())


def test_ids_are_unique_over_all_plots(page):
    ids = Page(page).ids
    assert ids
    assert len(set(ids)) == len(ids)


def test_every_reference_stays_inside_or_beside_the_page(page):
    parsed = Page(page)
    inside = {f"#{i}" for i in parsed.ids}
    files = {"run.json", "observations.jsonl", "samples.csv.gz", "junit.xml"}
    beside = files | {"logs/", "profiles/push%20rpc.svg", "data:,"}
    pictures = {address for address in parsed.references if address.startswith("data:image/svg+xml;base64,")}
    assert len(pictures) == 1
    assert set(parsed.references) - inside - pictures == beside
    assert {f"#{i}" for i in re.findall(r"url\(#([^)]+)\)", page)} <= inside
    assert not re.search(r"url\((?!#)|@import", page)


def test_nothing_is_fetched_and_the_one_script_is_in_the_page(page):
    tags = Page(page).tags
    assert not {"iframe", "object", "embed"} & set(tags)
    assert tags.count("img") == 1  # in the page itself, where no script of it runs
    assert (tags.count("script"), tags.count("link")) == (1, 1)
    assert '<link rel="icon" href="data:,">' in page
    assert "default-src 'none'" in page


def test_everything_wide_can_scroll_and_every_plot_is_there(page):
    tags = Page(page).tags
    assert tags.count("svg") == len(PLOT_NAMES)
    wide = tags.count("table") + tags.count("svg") + tags.count("img")
    assert page.count('class="scroll') == wide > len(PLOT_NAMES)


def test_every_section_can_be_reached_from_the_contents(page):
    parsed = Page(page)
    titles = [s.title for s in sections(fake_run(), PLOT_NAMES, fake_material())]
    assert page.count('<li class="level-') == len(titles)
    assert {f"#{slug}" for slug in slugs(titles).values()} <= set(parsed.references)


def test_numbers_carry_what_they_are_sorted_by(page):
    assert re.search(r'<td class="number" data-label="Value" data-value="0.9918">99.18 %<small>', page)
    assert re.search(r'<td class="number" data-label="Value">—</td>', page)


def test_details_are_folded_with_all_that_is_inside_them(page):
    assert re.search(
        r'<details class="section">\n<summary><h2 id="Validity">Validity</h2><span class="hint">', page
    )
    folded = page[page.index('id="Workloads"') :]
    assert folded.index('id="rpc_ping"') < folded.index("</details>\n<details")
    assert not re.search(r'<summary><h2 id="(Verdict|Criteria|Files)"', page)


def test_a_promise_has_the_colour_of_its_verdict():
    text = html(promise_run(), {}, fake_material())
    assert '<td class="promise verdict-pass">✓ 99.92 % less<small>[99.91, 99.92]</small></td>' in text
    assert '<td class="promise verdict-fail">✗ 48.7 % less<small>' in text


def test_light_dark_and_print_are_provided_for(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "currentColor" in page


def test_the_verdict_is_marked_and_a_value_parted_from_its_interval(page):
    assert '<h1 class="verdict-fail">Push against polling, quick: FAIL</h1>' in page
    assert re.search(r'<td class="verdict verdict-contaminated" [^>]*>contaminated</td>', page)
    assert re.search(
        r'<td class="number" data-value="[\d.e-]+">[\d.]+ µs<small>\[[\d.]+, [\d.]+\] µs</small></td>', page
    )


def test_what_others_wrote_cannot_break_the_page():
    hostile = "<script>alert('x')</script>\n& \x1b[0m"
    criterion = msgspec.structs.replace(CRITERIA[0], reason=hostile, title="")
    files = [('profiles/"><script>.svg', hostile)]
    run = bare_run(criteria=[criterion], warnings=[hostile], title=hostile)
    text = html(run, {}, Material(files=files))
    assert Page(text).tags.count("script") == 1
    assert 'href="profiles/%22%3E%3Cscript%3E.svg"' in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
