import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.probes.lognoise import LogCapture
from harness.run import process
from harness.run.process import CellTimeout, WorkerProcess, WorkerTimeout
from harness.run.protocol import CellJob, Job
from harness.suite import WorkloadSpec
from tests.pace import limit_s

pytestmark = pytest.mark.slow

JOB = Job("floors", "floors", "memory", "asyncio", {}, [CellJob("floor", "floor", {"operations": 100})])
FLOOR = WorkloadSpec("floor", "floor", {"operations": 100}, timeout_s=0.2)
CELL = '{"type":"cell","workload":"floor"}'
HOLD = '{"type":"hold","seconds":30}'
Start = Callable[[Path], WorkerProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start workers; they are ended whatever comes of them."""
    started: list[tuple[WorkerProcess, LogCapture]] = []

    def make(logs: Path) -> WorkerProcess:
        capture = LogCapture(logs)
        started.append((WorkerProcess(JOB, capture, None), capture))
        return started[-1][0]

    yield make
    for worker, capture in started:
        worker.kill()
        worker.kill()  # harmless when repeated
        capture.close()


def drain(worker: WorkerProcess, workload: WorkloadSpec = FLOOR) -> list[str]:
    return [finished.workload for finished, _ in worker.cells(lambda name: None, {"floor": workload})]


def test_a_worker_does_its_job_and_ends(start: Start, tmp_path: Path) -> None:
    worker = start(tmp_path)
    assert drain(worker, WorkloadSpec("floor", "floor", {})) == ["floor"]
    worker.wait()
    assert not worker.ended_badly()


def test_a_worker_leaves_no_control_group(start: Start, tmp_path: Path) -> None:
    worker = start(tmp_path)
    account = worker._account
    if account is None:
        pytest.skip("this user may not make control groups here")
    assert account.used_ns() >= 0
    worker.kill()
    assert not account._directory.exists()


@pytest.mark.parametrize(
    "script", [f"echo '{CELL}' >&$5; sleep 60", f"echo '{CELL}' >&$5; echo '{HOLD}' >&$5; sleep 60"]
)
def test_a_workload_is_given_its_timeout_and_no_more(start: Start, worker_script, script: str) -> None:
    worker = start(worker_script(script))
    start_s = time.monotonic()
    with pytest.raises(CellTimeout, match=r"it was not done within its timeout of 0.2 s"):
        drain(worker)
    assert 0.2 <= time.monotonic() - start_s < limit_s(10)


def test_a_workload_that_talks_on_is_held_to_its_timeout_too(start: Start, worker_script) -> None:
    worker = start(worker_script(f"echo '{CELL}' >&$5; while :; do echo -n ' ' >&$5; sleep 0.01; done"))
    with pytest.raises(CellTimeout):
        drain(worker)


def test_a_worker_that_never_begins_is_no_workload_that_hangs(
    start: Start, worker_script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "EDGE_S", 0.2)
    worker = start(worker_script("sleep 60"))
    with pytest.raises(WorkerTimeout, match="gave no sign within its time limit") as caught:
        drain(worker)
    assert not isinstance(caught.value, CellTimeout)


def test_between_two_workloads_the_timeout_of_the_first_is_over(
    start: Start, worker_script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "EDGE_S", 5.0)
    done = '{"type":"finished","workload":"floor","status":"ok","reasons":[],"outcome":{}}'
    worker = start(worker_script(f"echo '{CELL}' >&$5; echo '{done}' >&$5; sleep 0.6"))
    assert drain(worker) == ["floor"]


def test_how_a_worker_ended_is_told_with_its_last_words(start: Start, worker_script) -> None:
    worker = start(worker_script("echo first; echo last >&2; exit 3"))
    assert drain(worker) == []
    worker.wait()
    assert worker.ended_badly()
    assert worker.epitaph() == "the worker ended with exit code 3: last"


@pytest.mark.parametrize("step", ["Probing", "encode"])
def test_an_interrupt_while_it_is_made_leaves_nothing(
    worker_script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    logs = worker_script(f'echo $$ "$TMPDIR" > "{tmp_path}/started"; sleep 60')

    def interrupted(*_: object) -> None:
        end_s = time.monotonic() + limit_s(10)
        while not (started := tmp_path / "started").exists() or not started.read_text():
            assert time.monotonic() < end_s
            time.sleep(0.01)  # another process has to begin
        raise KeyboardInterrupt

    monkeypatch.setattr(process, step, interrupted)
    before = os.listdir("/proc/self/fd")
    capture = LogCapture(logs)
    with pytest.raises(KeyboardInterrupt):
        WorkerProcess(JOB, capture, None)
    capture.close()
    pid, scratch = (tmp_path / "started").read_text().split()
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(scratch).exists()
    assert os.listdir("/proc/self/fd") == before
