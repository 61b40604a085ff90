import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from harness.report.svg import INK, Alternative, draw, scale_axis, tick_formatter

TOLD = Alternative("t", "d")


def fill(figure):
    axes = figure.add_subplot()
    axes.plot([1e-6, 1.0], [0, 1], marker="o")
    scale_axis(axes, "s")
    axes.set_title("clipped & escaped <")


def test_a_drawing_is_an_svg_element_with_a_title():
    root = ElementTree.fromstring(draw("a", Alternative('one & "two"', "1 < 2"), 2.0, fill))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'one & "two"'
    assert root.get("role") == "img"
    title, told = root[0], root[1]
    assert (title.tag.partition("}")[2], title.text) == ("title", 'one & "two"')
    assert (told.tag.partition("}")[2], told.text, told.get("id")) == ("desc", "1 < 2", "a-told")
    assert root.get("aria-describedby") == "a-told"


def test_the_same_drawing_is_the_same_text():
    assert draw("a", TOLD, 2.0, fill) == draw("a", TOLD, 2.0, fill)


def test_two_drawings_share_no_id_and_refer_to_their_own():
    one, two = draw("a", TOLD, 2.0, fill), draw("b", TOLD, 2.0, fill)
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, two), ids, strict=True):
        references = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
        assert references
        assert {a or b for a, b in references} <= own


def test_it_brings_nothing_from_outside_and_nothing_that_leaks_into_a_page():
    text = draw("a", TOLD, 2.0, fill)
    for unwanted in ("<style", "<metadata", "<!DOCTYPE", "<?xml", "Matplotlib", INK):
        assert unwanted not in text
    assert "currentColor" in text


def test_the_settings_of_others_stay_as_they_were():
    before = dict(mpl.rcParams)
    draw("a", TOLD, 2.0, fill)
    assert dict(mpl.rcParams) == before


@pytest.mark.filterwarnings("ignore:Glyph")
def test_characters_that_xml_forbids_do_not_break_it():
    text = draw("a", TOLD, 2.0, lambda figure: figure.text(0, 0, "x\x0by\uffff"))
    assert "x\ufffdy\ufffd" in "".join(ElementTree.fromstring(text).itertext())


def test_text_stays_text():
    assert "clipped &amp; escaped &lt;" in draw("a", TOLD, 2.0, fill)


@pytest.mark.parametrize(("value", "text"), [(1e-5, "10 µs"), (1.0, "1 s"), (2e-3, "2 ms"), (0.0, "0")])
def test_ticks_have_no_needless_zeros(value, text):
    assert tick_formatter("s")(value, 0) == text


@pytest.mark.parametrize(
    ("low", "high", "least"), [(1e-6, 1.0, 2), (2e-3, 3e-2, 2), (2.1e-3, 2.9e-3, 1), (1.1e-3, 1.9e-3, 2)]
)
def test_every_range_has_ticks_with_labels(low, high, least):
    def narrow(figure):
        axes = figure.add_subplot()
        axes.plot([low, high], [0, 1])
        scale_axis(axes, "s")

    labels = re.findall(r">([\d.]+ (?:ns|µs|ms|s))<", draw("a", TOLD, 2.0, narrow))
    assert len(labels) >= least


def test_what_is_told_is_one_printable_line():
    told = ElementTree.fromstring(draw("a", Alternative("t", "a\n\x1b[0m b"), 2.0, fill))[1].text
    assert told == "a \ufffd[0m b"
