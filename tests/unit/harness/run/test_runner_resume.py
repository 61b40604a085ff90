import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedbench.errors import ConfigError
from harness.records import store as store_module
from harness.records.lock import held
from harness.records.schema import Observation
from harness.records.store import Store
from harness.run import runner
from harness.run.asked import read_asked
from harness.run.plan import plan
from harness.run.runner import Request, missing, resume_suite, run_suite
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue
from tests.pace import limit_s
from tests.unit.harness.run.test_runner import Listener, interrupt

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("same_checkout", "undisturbed")]

SUITE = """
title: Two arms of two workloads
blocks: 2
workloads:
  floor: {operations: 300}
  await: {workload: floor, operation: await, operations: 300}
arms:
  floors: {workloads: [floor, await]}
  again: {stack: floors, control_of: floors, workloads: [floor, await]}
criteria:
  - {id: fast, kind: at_most, target: 10.0, workload: floor, metric: latency_p50_s, arm: floors}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return load_suite(str(path), catalogue(), stack_names())


@pytest.fixture
def broken(suite, tmp_path: Path) -> Callable[[int], Path]:
    """Break a run off after some observations."""

    def make(after: int) -> Path:
        _, folder = run_suite(
            Request(suite, 3, tmp_path / "results", "fedbench run small"), Listener(interrupt, at=after)
        )
        return folder

    return make


def cells(observations: list[Observation]) -> list[tuple[int, str, str]]:
    return [(o.block, o.arm, o.workload) for o in observations]


def planned(suite: Suite) -> list[tuple[int, str, str]]:
    return [(r.block, r.arm.name, w.name) for r in plan(suite, 3) for w in r.workloads]


def test_only_what_is_missing_is_measured_in_the_same_order(broken, suite) -> None:
    folder = broken(4)
    kept = Store(folder).observations()
    before = Store(folder).read_run()
    listener = Listener()
    record, where = resume_suite(folder, read_asked(folder), listener)
    assert where == folder
    assert cells(listener.observations) == planned(suite)[4:]
    assert Store(folder).observations() == kept + listener.observations
    assert (record.ended, record.exit_code, record.blocks_done) == ("complete", 0, 2)
    assert (record.run_id, record.started_utc, record.command) == (
        before.run_id,
        before.started_utc,
        before.command,
    )
    assert record.duration_s > before.duration_s
    assert record.not_measured == []
    assert Store(folder).read_run() == record
    assert any("was resumed at" in warning for warning in record.warnings)
    assert (folder / "report.html").is_file()


def test_a_worker_that_had_begun_runs_again_as_a_whole_and_replaces_what_it_had(broken, suite) -> None:
    folder = broken(3)
    kept = Store(folder).observations()
    listener = Listener()
    resume_suite(folder, read_asked(folder), listener)
    assert cells(listener.observations) == planned(suite)[2:]
    assert Store(folder).observations() == kept[:2] + listener.observations


def test_nothing_is_replaced_before_the_worker_has_run_as_a_whole(broken) -> None:
    folder = broken(3)
    kept = Store(folder).observations()
    record, _ = resume_suite(folder, read_asked(folder), Listener(interrupt, at=1))
    assert record.ended == "interrupted"
    assert Store(folder).observations() == kept
    record, _ = resume_suite(folder, read_asked(folder), Listener())
    assert record.ended == "complete"
    assert record.environment["resumed_utc"].count("Z") == 2
    assert len(record.environment["sittings"]) == 3


def test_a_budget_breaks_a_run_off_again_and_again_until_it_is_whole(broken, suite) -> None:
    folder = broken(1)
    endings = []
    for _ in range(4):
        record, _ = resume_suite(folder, read_asked(folder), Listener(), budget_s=1e-9)
        endings.append(record.ended)
    assert endings == ["budget", "budget", "budget", "complete"]
    assert sorted(cells(Store(folder).observations())) == sorted(planned(suite))


def test_a_killed_run_is_resumed(suite, tmp_path: Path) -> None:
    """Killed for good, with a torn line behind what it had saved."""
    program = (
        "import sys\nfrom harness.cli import main\n"
        "from harness.run import runner\n"
        "runner.fingerprint = lambda: {'dirty': False, 'commit': '0a1b2c3'}\nmain()"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "run",
        str(tmp_path / "small.yaml"),
        "--seed",
        "3",
        "-o",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        end_s = time.monotonic() + limit_s(15)
        while time.monotonic() < end_s:
            found = list((tmp_path / "out").glob("*/observations.jsonl"))
            if any(b"\n" in path.read_bytes() for path in found):
                break
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    (path,) = found
    with path.open("ab") as file:
        file.write(b'{"block": 1, "order"')
    kept = Store(path.parent).observations()
    assert 0 < len(kept) < len(planned(suite))
    record, _ = resume_suite(path.parent, read_asked(path.parent), Listener())
    assert record.ended == "complete"
    assert sorted(cells(Store(path.parent).observations())) == sorted(planned(suite))


def test_a_complete_run_is_not_resumed_and_not_touched(suite, tmp_path: Path) -> None:
    _, folder = run_suite(Request(suite, 3, tmp_path, "fedbench run small"), Listener())
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    with pytest.raises(ConfigError, match="is complete: there is nothing to resume"):
        resume_suite(folder, read_asked(folder), Listener())
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


def test_a_run_of_another_checkout_is_not_resumed_and_not_touched(
    broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = broken(1)
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    monkeypatch.setattr(runner, "fingerprint", lambda: {"dirty": False, "commit": "fffffff"})
    with pytest.raises(ConfigError, match="measured the commit 0a1b2c3; this is fffffff"):
        resume_suite(folder, read_asked(folder), Listener())
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


def test_a_run_whose_criteria_were_edited_is_not_resumed(broken) -> None:
    folder = broken(1)
    path = folder / "suite.json"
    path.write_text(path.read_text().replace('"target": 10.0', '"target": 99.0'))
    with pytest.raises(ConfigError, match=r"suite.json was changed since the run began"):
        resume_suite(folder, read_asked(folder), Listener())


def test_what_is_still_missing_is_known_beforehand(broken, suite) -> None:
    folder = broken(3)
    runs = missing(read_asked(folder), folder)
    assert [(r.block, r.arm.name) for r in runs] == [(r.block, r.arm.name) for r in plan(suite, 3)[1:]]
    assert missing(read_asked(folder), None) == plan(suite, 3)


def test_what_cannot_be_resumed_is_known_beforehand(broken, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = broken(1)
    with held(folder), pytest.raises(ConfigError, match="another process is measuring into it"):
        missing(read_asked(folder), folder)
    monkeypatch.setattr(runner, "fingerprint", lambda: {"dirty": False, "commit": "fffffff"})
    with pytest.raises(ConfigError, match="measured the commit 0a1b2c3; this is fffffff"):
        missing(read_asked(folder), folder)


def test_a_run_that_is_still_going_on_is_not_resumed(suite, tmp_path: Path) -> None:
    refused: list[str] = []

    def try_it() -> None:
        (folder,) = (tmp_path / "results").iterdir()
        with pytest.raises(ConfigError, match="another process is measuring into it") as caught:
            resume_suite(folder, read_asked(folder), Listener())
        refused.append(str(caught.value))

    run_suite(
        Request(suite.select("floors/"), 3, tmp_path / "results", "fedbench run"), Listener(try_it, at=1)
    )
    assert len(refused) == 1


# a disk that is full


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the disk full after some observations: the next one is torn."""

    def fill(count: int) -> None:
        real, left = os.fsync, [count]

        def fsync(descriptor: int) -> None:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.endswith("observations.jsonl"):
                left[0] -= 1
                if left[0] < 0:
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - 10)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(store_module.os, "fsync", fsync)

    return fill


def test_a_full_disk_is_told_and_what_was_saved_can_be_read_and_resumed(
    suite, tmp_path: Path, full_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, workers: Any
) -> None:
    full_after(3)
    listener = Listener()
    with pytest.raises(ConfigError) as caught:
        run_suite(Request(suite, 3, tmp_path / "results", "fedbench run small"), listener)
    (folder,) = (tmp_path / "results").iterdir()
    assert caught.value.source == str(folder / "observations.jsonl")
    assert f"make room, then `fedbench run --resume {folder}`" in str(caught.value)
    assert workers() == []
    store = Store(folder)
    assert store.observations() == listener.observations
    assert len(listener.observations) == 3
    assert store.read_run().ended == "interrupted"
    monkeypatch.undo()
    monkeypatch.setattr(runner, "fingerprint", lambda: {"dirty": False, "commit": "0a1b2c3"})
    record, _ = resume_suite(folder, read_asked(folder), Listener())
    assert record.ended == "complete"
    assert sorted(cells(store.observations())) == sorted(planned(suite))


def test_a_report_that_does_not_fit_leaves_the_run_readable(suite, tmp_path: Path, monkeypatch) -> None:
    def render(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    monkeypatch.setattr(runner, "render", render)
    with pytest.raises(
        ConfigError, match=r"report.html: cannot be written: No space left .*`fedbench report "
    ):
        run_suite(Request(suite.select("floors/"), 3, tmp_path / "results", "fedbench run"), Listener())
    (folder,) = (tmp_path / "results").iterdir()
    assert Store(folder).read_run().ended == "complete"
