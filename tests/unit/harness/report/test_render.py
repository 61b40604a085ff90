import msgspec
import pytest

from harness.report.render import files_in, flames_in, render
from tests.fakes.results import PLOT_PATHS, RATES, bare_run, fake_observations, fake_run

NAMES = ["report.html", "report.md", "junit.xml", *PLOT_PATHS.values()]


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


def test_files_that_are_not_there_are_not_linked(tmp_path):
    assert [name for name, _ in files_in(tmp_path)] == ["junit.xml"]
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "logs").mkdir()
    (tmp_path / "profiles").mkdir()
    for name in ("push rpc.svg", "a.svg", "notes.txt"):
        (tmp_path / "profiles" / name).write_text("<svg/>")
    render(bare_run(), [], tmp_path, RATES)
    for report, links in (
        ("report.md", ("(run.json)", "(logs/)", "(profiles/a.svg)", "(profiles/push%20rpc.svg)")),
        ("report.html", ('"run.json"', '"logs/"', '"profiles/a.svg"', '"profiles/push%20rpc.svg"')),
    ):
        text = (tmp_path / report).read_text(encoding="utf-8")
        assert all(link in text for link in links)
        assert "samples.csv.gz" not in text
        assert "notes.txt" not in text
        assert "1 false alarms in 300 comparisons" in text
    assert (tmp_path / "profiles" / "a.svg").read_text() == "<svg/>"


def test_a_page_holds_flame_graphs_up_to_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.report.render.MOST_BYTES", 10)
    folder = tmp_path / "profiles"
    folder.mkdir()
    for name, size in (("a", 6), ("b", 5), ("c", 4)):
        (folder / f"{name}.svg").write_bytes(name.encode() * size)
    assert flames_in(tmp_path) == [
        ("profiles/a.svg", b"aaaaaa"), ("profiles/b.svg", None), ("profiles/c.svg", b"cccc"),
    ]  # fmt: skip
    assert flames_in(tmp_path / "nowhere") == []


def test_damaged_observations_leave_the_reports_as_they_were(tmp_path):
    (tmp_path / "report.html").write_text("old")
    timed = next(o for o in fake_observations() if o.histograms)
    damaged = {**timed.histograms["latency"], "count": 1}
    with pytest.raises(ValueError, match="contradict"):
        render(fake_run(), [msgspec.structs.replace(timed, histograms={"latency": damaged})], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"
