import base64

from harness.report.document import Bullets, Paragraph, Picture
from harness.report.flames import flame_graphs
from harness.report.html import html
from harness.report.markdown import markdown
from harness.report.material import NOTHING_BESIDE, Material
from tests.fakes.results import FLAME, bare_run

MATERIAL = Material(flames=(("profiles/push rpc.svg", FLAME), ("profiles/polling.svg", None)))


def test_a_run_that_was_not_profiled_has_none():
    assert flame_graphs(NOTHING_BESIDE) == []


def test_each_is_a_picture_and_what_was_left_out_is_said():
    (section,) = flame_graphs(MATERIAL)
    text, picture, left_out, which = section.parts
    assert isinstance(text, Paragraph)
    assert picture == Picture("profiles/push rpc.svg", "Flame graph of push rpc", FLAME)
    assert left_out.text.startswith("Left out, as all together would take more than 2.00 MiB")
    assert which == Bullets(["profiles/polling.svg"])


def test_the_page_has_the_picture_folded_and_links_to_the_file():
    page = html(bare_run(), {}, MATERIAL)
    encoded = base64.b64encode(FLAME).decode()
    assert f'<img src="data:image/svg+xml;base64,{encoded}" alt="Flame graph of push rpc">' in page
    assert '<details class="flame">\n<summary>Flame graph of push rpc</summary>' in page
    assert '<a href="profiles/push%20rpc.svg">' in page
    assert "throw" not in page


def test_markdown_links_to_it():
    text = markdown(bare_run(), {}, MATERIAL)
    assert "[Flame graph of push rpc](profiles/push%20rpc.svg)" in text
    assert "- profiles/polling.svg" in text
