from pathlib import Path

import pytest

from harness.records.store import Store
from harness.run.asked import read_asked
from harness.run.profiling import NOT_COMPARABLE, NOTHING_LEFT
from harness.run.runner import Request, resume_suite, run_suite
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue
from tests.unit.harness.run.test_profiling import WAITS
from tests.unit.harness.run.test_runner import Listener, interrupt

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("same_checkout", "undisturbed")]

SUITE = """
title: One arm
blocks: 2
workloads:
  floor: {operations: 300}
arms:
  floors: {workloads: [floor]}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return load_suite(str(path), catalogue(), stack_names())


def request(suite: Suite, tmp_path: Path) -> Request:
    return Request(suite, 3, tmp_path / "results", "fedbench run", profile=True)


def test_a_profiled_run_is_marked_for_good(suite, tmp_path: Path, spy) -> None:
    spy(WAITS)
    record, folder = run_suite(request(suite, tmp_path), Listener(interrupt, at=2))
    assert record.profiled
    assert record.warnings[0] == NOT_COMPARABLE
    record, _ = resume_suite(folder, read_asked(folder), Listener())
    assert record.profiled
    assert record.warnings[0] == NOT_COMPARABLE


def test_a_run_is_marked_before_anything_is_profiled(suite, tmp_path: Path, spy) -> None:
    """It may be killed once the first worker has been looked into."""
    spy(WAITS)
    marks: list[bool] = []

    def look() -> None:
        (folder,) = (tmp_path / "results").iterdir()
        marks.append(Store(folder).read_run().profiled)

    run_suite(request(suite, tmp_path), Listener(look, at=1))
    assert marks == [True]


def test_without_py_spy_nothing_is_marked(suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.profiling.shutil.which", lambda *_, **__: None)
    record, _ = run_suite(request(suite, tmp_path), Listener())
    assert not record.profiled
    assert record.warnings[0] == "not profiled: py-spy is not installed; `pip install py-spy`"


def test_where_py_spy_may_not_look_nothing_is_marked(suite, tmp_path: Path, spy) -> None:
    spy("echo Operation not permitted >&2; exit 1")
    record, _ = run_suite(request(suite, tmp_path), Listener())
    assert not record.profiled
    assert record.warnings[0].startswith("floors was not profiled: py-spy may not look into processes")


def test_a_resumed_run_without_its_first_block_says_that_nothing_was_profiled(
    suite,
    tmp_path: Path,
    spy,
) -> None:
    spy(WAITS)
    plain = Request(suite, 3, tmp_path / "results", "fedbench run")
    _, folder = run_suite(plain, Listener(interrupt, at=2))
    record, _ = resume_suite(folder, read_asked(folder), Listener(), profile=True)
    assert not record.profiled
    assert NOTHING_LEFT in record.warnings
