import pytest

from harness.report.render import render
from tests.fakes.results import bare_run, fake_observations, fake_run

NAMES = ["report.html", "report.md", "junit.xml"] + [
    f"plots/{name}.svg" for name in ("criteria", "comparison", "latency", "ratios", "frontier")
]


@pytest.mark.slow
def test_every_file_is_written_and_the_same_again(tmp_path):
    paths = render(fake_run(), fake_observations(), tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == NAMES
    first = {path: path.read_bytes() for path in paths}
    assert all(first.values())
    assert render(fake_run(), fake_observations(), tmp_path) == paths
    assert {path: path.read_bytes() for path in paths} == first
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths)


def test_a_plot_without_data_goes_and_the_report_stays(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "latency.svg").write_text("old")
    (tmp_path / "run.json").write_text("{}")
    paths = render(bare_run(), [], tmp_path)
    assert [path.name for path in paths] == NAMES[:3]
    assert list((tmp_path / "plots").iterdir()) == []
    assert (tmp_path / "run.json").read_text() == "{}"


def test_the_reports_link_to_the_plots_that_are_there(tmp_path):
    render(fake_run(), [], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "](plots/criteria.svg)" in text
    assert "latency.svg" not in text
