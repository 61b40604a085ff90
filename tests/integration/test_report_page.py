"""The page of a report in a browser: narrow and wide, light and dark, by keyboard, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records.format import magnitude
from harness.records.schema import RunRecord
from harness.report.html import html
from harness.report.plots import plots
from harness.report.sections import sections
from tests.browser import Page, browser, chromium
from tests.fakes.promises import promise_run
from tests.fakes.results import PLOT_NAMES, bare_run, fake_material, fake_observations, fake_run

PROGRAM = chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (apt-get install chromium)"),
]

WIDTHS = (320, 768, 1280)
PAPER_PX = 718
"""A4 between margins of 1 cm."""
OUTSIDE = """
[...document.querySelectorAll("body *")]
  .filter((e) => !e.closest(".scroll, .skip") && e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.tagName + " " + e.textContent.trim().slice(0, 40))
"""
CONTRASTS = """
(() => {
  const channel = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (e) => {
    for (; e; e = e.parentElement) {
      const found = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(found)) return found;
    }
  };
  const seen = {};
  const texts = "h1, h2, h3, p, li, a, th, td, small, figcaption, summary, svg text";
  for (const e of document.querySelectorAll(texts)) {
    const style = getComputedStyle(e);
    const ink = e.matches("svg text") && style.fill !== "none" ? style.fill : style.color;
    const [a, b] = [light(ink), light(paper(e))].sort((x, y) => y - x);
    seen[`${ink} on ${paper(e)}`] = (a + 0.05) / (b + 0.05);
  }
  return seen;
})()
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    assert PROGRAM is not None
    with browser(PROGRAM) as started:
        yield started


def written(folder: Path, run: RunRecord, svgs: dict[str, str]) -> Path:
    path = folder / "report.html"
    path.write_text(html(run, svgs, fake_material()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    svgs = plots(fake_run(), fake_observations())
    return written(tmp_path_factory.mktemp("report"), fake_run(), svgs)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with thirty criteria in three modes."""
    svgs = plots(promise_run(), fake_observations())
    return written(tmp_path_factory.mktemp("quick"), promise_run(), svgs)


UNFOLD = "document.querySelectorAll('details').forEach((e) => { e.open = true; })"
SCREENS = "document.documentElement.scrollHeight / innerHeight"
PASSED_BY = """
[...document.querySelectorAll("#Criteria ~ .scroll tbody tr")].flatMap((row) =>
  [...row.querySelectorAll("td.verdict, td.number")].filter((cell) => {
    const box = cell.getBoundingClientRect();
    return box.width < 10 || box.height < 5 || box.left < 0 || box.right > innerWidth;
  }).map((cell) => row.cells[0].textContent + ": " + cell.textContent))
"""


def test_the_page_of_a_quick_run_has_at_most_twelve_screens(page, quick):
    page.open(quick, 1280)
    assert page.value("innerHeight") == 900
    assert 2 < page.value(SCREENS) <= 12
    page.value(UNFOLD)
    assert page.value(SCREENS) > 12


def test_the_page_opens_with_the_promises_on_the_first_screen(page, quick):
    page.open(quick, 1280)
    assert page.value("document.querySelector('main p').textContent").startswith(
        "Push against polling: CPU idle"
    )
    table = page.value("document.querySelector('main table').getBoundingClientRect().bottom")
    assert table < page.value("innerHeight")
    assert page.value("document.querySelectorAll('td.promise').length") == 18


def test_a_phone_shows_every_value_and_verdict_without_scrolling_sideways(page, quick):
    page.open(quick, 390)
    assert page.value("document.documentElement.scrollWidth") == page.value("innerWidth") == 390
    assert page.value("document.querySelectorAll('#Criteria ~ .scroll td.verdict').length") >= 30
    assert page.value(PASSED_BY) == []
    for table in ("document.querySelector('main .scroll')", "document.querySelector('#Criteria ~ .scroll')"):
        assert page.value(f"{table}.scrollWidth - {table}.clientWidth") == 0


def test_a_link_into_a_folded_section_unfolds_it(page, quick):
    page.open(quick, 1280)
    assert not page.value("document.getElementById('Validity').closest('details').open")
    page.value("[...document.querySelectorAll('nav a')].find((a) => a.hash === '#Validity').click()")
    page.value("new Promise((done) => setTimeout(done, 100))")
    assert page.value("document.getElementById('Validity').closest('details').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_complains_of_nothing_and_fetches_nothing(page, report, width, scheme):
    page.open(report, width, scheme)
    assert page.complaints == []
    assert [url for url in page.requested if not url.startswith("data:")] == [report.as_uri()]
    assert page.value("document.documentElement.scrollWidth") == page.value("innerWidth") == width
    assert page.value(OUTSIDE) == []


def test_every_section_and_every_plot_is_seen(page, report):
    page.open(report, 1280)
    page.value(UNFOLD)
    titles = [s.title for s in sections(fake_run(), PLOT_NAMES, fake_material())]
    assert page.value("[...document.querySelectorAll('h2, h3')].map((e) => e.textContent)") == titles
    sizes = page.value(
        "[...document.querySelectorAll('figure svg')].map((e) => e.getBoundingClientRect().height)"
    )
    assert len(sizes) == len(PLOT_NAMES)
    assert min(sizes) > 100
    assert page.value("document.querySelector('h2').getBoundingClientRect().bottom < innerHeight")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_paper(page, report, scheme):
    page.open(report, 1280, scheme)
    page.value(UNFOLD)
    contrasts = page.value(CONTRASTS)
    assert {pair: ratio for pair, ratio in contrasts.items() if ratio < 4.5} == {}
    papers = page.value("getComputedStyle(document.body).backgroundColor")
    assert papers == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 25, 29)")


def test_the_criteria_with_their_reasons_are_seen_whole_on_a_usual_screen(page, report):
    page.open(report, 1280)
    table = "document.querySelector('#Criteria ~ .scroll')"
    assert page.value(f"{table}.querySelector('th').textContent").startswith("Criterion")
    assert page.value(f"[{table}.scrollWidth <= {table}.clientWidth]") == [True]
    reasons = page.value(f"[...{table}.querySelectorAll('td:last-child')].map((e) => e.textContent)")
    assert max(map(len, reasons)) > 50


def test_wide_tables_scroll_in_their_own_box_and_by_keyboard(page, report):
    page.open(report, 320)
    page.value(UNFOLD)
    scrolled = page.value(
        """[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => {
             e.focus(); e.scrollLeft = 50; return [document.activeElement === e, e.scrollLeft];
           })"""
    )
    assert len(scrolled) > 10
    assert all(moved == [True, 50] for moved in scrolled)


COLUMN = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map((r) => r.cells[{}].textContent)"
SORTED = "document.querySelectorAll('table')[0].tHead.rows[0].cells[2].getAttribute('aria-sort')"


def test_a_table_is_sorted_by_keyboard_and_goes_back(page, report):
    page.open(report, 1280)
    before = page.value(COLUMN.format(0))
    page.value("document.querySelectorAll('table')[0].tHead.rows[0].cells[2].querySelector('button').focus()")
    orders = []
    for _ in range(3):
        page.press("Enter", 13)
        orders.append((page.value(SORTED), page.value(COLUMN.format(2))))
    assert [order for order, _ in orders] == ["ascending", "descending", None]
    rising, falling = orders[0][1], orders[1][1]
    assert [text[:6] for text in rising[:2]] == ["119 µs", "39.3 %"]
    assert sorted(rising[-2:]) == sorted(falling[-2:]) == ["all the same", "—"]
    numbers = [magnitude(text) for text in rising[:-2]]
    assert numbers == sorted(numbers)
    assert [magnitude(text) for text in falling[:-2]] == numbers[::-1]
    assert page.value(COLUMN.format(0)) == before


def test_a_flame_graph_is_unfolded_and_runs_no_script(page, report):
    page.open(report, 1280)
    page.value("document.querySelector('.flame').closest('details.section').open = true")
    page.value("document.querySelector('.flame summary').focus()")
    page.press("Enter", 13)
    assert page.value("document.querySelector('.flame').open")
    assert page.value("document.querySelector('.flame img').naturalWidth") == 1200
    assert page.complaints == []


def test_the_contents_lead_everywhere(page, report):
    page.open(report, 320)
    links = "[...document.querySelectorAll('nav a, .skip')]"
    assert page.value(f"{links}.length") > 20
    assert page.value(f"{links}.filter((a) => !document.getElementById(a.hash.slice(1))).length") == 0
    page.value("document.querySelector('nav summary').focus()")
    page.press("Enter", 13)
    assert page.value("document.querySelector('nav details').open")


def test_nothing_is_cut_off_on_paper(page, report):
    page.open(report, 1280)
    page.value("dispatchEvent(new Event('beforeprint'))")
    assert page.value("document.querySelectorAll('details.section:not([open])').length") == 0
    page.print_width(PAPER_PX)
    assert page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    wide = page.value("[...document.querySelectorAll('body *')].map((e) => e.getBoundingClientRect().right)")
    assert max(wide) <= PAPER_PX + 1
    assert page.pdf().startswith(b"%PDF-")


def test_a_run_of_nothing_is_a_page_too(page, tmp_path):
    page.open(written(tmp_path, bare_run(), {}), 320)
    assert page.complaints == []
    assert page.value("document.documentElement.scrollWidth") == 320
    assert page.value("document.querySelector('h1').textContent").endswith("NOTHING RAN")
