import errno
import os
from pathlib import Path

import msgspec
import pytest

from harness.records.store import Store

SUITE = """
title: Floors
blocks: 1
workloads:
  floor: {operations: 300}
arms:
  floors: {workloads: [floor]}
criteria:
  - {id: fast, arm: floors, metric: latency_p50_s, kind: at_most, target: 10.0, workload: floor}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "floors.yaml"
    path.write_text(SUITE)
    return path


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")


@pytest.mark.slow
def test_a_verdict_without_its_report_is_told_all_the_same(
    fedbench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.runner.render", full)
    done = fedbench("run", suite, "-o", tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    assert done.code == 6
    assert done.last == f"PASS: 1 pass — {folder}"
    assert f"make room, then `fedbench report {folder}`" in done.err
    monkeypatch.setattr("harness.report.render.render", full)
    again = fedbench("report", folder)
    assert (again.code, again.last) == (6, done.last)
    record = Store(folder).read_run()
    Store(folder).write_record(msgspec.structs.replace(record, exit_code=3))
    assert fedbench("report", folder).code == 3


@pytest.mark.slow
def test_a_run_that_can_keep_no_more_has_no_verdict(
    fedbench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("harness.run.runner.Store.write_run", full)
        done = fedbench("run", suite, "-o", tmp_path / "kept")
    assert done.code == 6
    assert "PASS" not in done.out
    monkeypatch.setattr("harness.run.runner.write_asked", full)
    done = fedbench("run", suite, "-o", tmp_path / "nothing")
    assert done.code == 5
    assert "cannot be written: No space left on device" in done.err
