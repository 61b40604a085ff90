from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from harness.archive import print_run, prune_runs
from harness.records.lock import held
from tests.fakes.results import CRITERIA, bare_run, fake_run
from tests.unit.harness.test_prune import make

OLD, NEW = "20200102T030405Z-quick-0a1b2c3", "20240102T030405Z-quick-0a1b2c3"


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=110, quiet=False, file=open("/dev/null", "w"))


@pytest.fixture(autouse=True)
def closed(console: Console):
    yield
    console.file.close()


def test_a_run_is_shown_with_cells_criteria_and_verdict(console, tmp_path):
    print_run(fake_run(), tmp_path, console)
    text = console.export_text()
    assert text.startswith("Suite quick, run 20250102T030405Z-quick-0a1b2c3: 5 of 5 blocks")
    assert all(c.id in text for c in CRITERIA)
    assert "push_asyncio" in text
    assert "not measured: criterion network-rpc: its cells were filtered out" in text
    assert "warning: the checkout has uncommitted changes" in text
    assert text.splitlines()[-1].startswith("FAIL: 1 contaminated, 1 fail")
    assert text.splitlines()[-1].endswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_named_where_there_is_one(console, tmp_path):
    (tmp_path / "report.html").write_text("")
    print_run(bare_run(), tmp_path, console)
    assert console.export_text().endswith(f"NOTHING RAN: no cell was measured — {tmp_path / 'report.html'}\n")


def test_a_hostile_title_stays_text(console, tmp_path):
    print_run(bare_run(suite="[red]\x1b[31m", warnings=["[bold]x\x1b]0;y\x07"]), tmp_path, console)
    text = console.export_text()
    assert "\x1b" not in text
    assert "[red]" in text
    assert "[bold]x" in text


def names(results: Path) -> list[str]:
    return sorted(path.name for path in results.iterdir())


def test_what_goes_is_said(console, tmp_path):
    make(tmp_path, OLD)
    make(tmp_path, NEW)
    prune_runs(tmp_path, 1, None, console, ask=None, dry_run=False)
    first, last = console.export_text().splitlines()
    assert first == f"removed {tmp_path / OLD} (26 B)"
    assert last == f"1 run removed (26 B), 1 kept in {tmp_path}"
    assert names(tmp_path) == [NEW]


def test_a_dry_run_removes_nothing_and_asks_nobody(console, tmp_path):
    make(tmp_path, OLD)
    prune_runs(tmp_path, None, timedelta(days=1), console, ask=pytest.fail, dry_run=True)
    assert console.export_text().splitlines()[0].startswith("would remove ")
    assert names(tmp_path) == [OLD]


@pytest.mark.parametrize("answer", [True, False])
def test_an_answer_decides(console, tmp_path, answer):
    make(tmp_path, OLD)
    asked = []
    prune_runs(tmp_path, 0, None, console, ask=lambda q: bool(asked.append(q)) or answer, dry_run=False)
    assert asked == ["Remove 1 run?"]
    assert names(tmp_path) == ([] if answer else [OLD])
    assert ("nothing was removed" in console.export_text()) is not answer


def test_nobody_is_asked_about_nothing(console, tmp_path):
    make(tmp_path, NEW, "interrupted")
    prune_runs(tmp_path, 0, None, console, ask=pytest.fail, dry_run=False)
    assert console.export_text().splitlines() == [
        f"{tmp_path / NEW} stays: it may still be going on",
        f"0 runs removed (0), 1 kept in {tmp_path}",
    ]


def test_a_run_that_is_resumed_during_the_question_stays_and_is_said_to(console, tmp_path):
    folder = make(tmp_path, OLD)
    with ExitStack() as resumed:

        def answer(_: str) -> bool:
            resumed.enter_context(held(folder))
            return True

        prune_runs(tmp_path, 0, None, console, ask=answer, dry_run=False)
    assert console.export_text().splitlines()[-2:] == [
        f"{folder} stays: it is being measured by now",
        f"0 runs removed (0), 1 kept in {tmp_path}",
    ]
