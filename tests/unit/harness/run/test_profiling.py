import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.probes.disturbance import DisturbanceProbe
from harness.run import profiling
from harness.run.executor import Executor
from harness.run.plan import ArmRun
from harness.run.profiling import Profiler

pytestmark = pytest.mark.slow

WAITS = 'while [[ -d /proc/$pid ]]; do sleep 0.02; done; echo "<svg/>" > "$output"'


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"])


def nothing(name: str) -> None:
    """Nobody wants to know which workload begins."""


def test_each_arm_of_the_first_block_has_a_flame_graph(spy, arm_run, tmp_path: Path) -> None:
    arguments = spy(WAITS)
    profiler = Profiler(tmp_path)
    (tmp_path / "logs").mkdir()
    executor = Executor(tmp_path / "logs", profiler)
    run: ArmRun = arm_run("push", "rpc_ping")
    (made,) = executor.run(run, nothing)
    assert made.status == "ok"
    assert "--subprocesses" in arguments.read_text()
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["push.svg"]
    list(executor.run(replace(run, block=2), nothing))
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["push.svg"]
    list(executor.run(run, nothing))  # where every workload is a process, an arm has several
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["push-2.svg", "push.svg"]
    assert profiler.notes == []


def test_py_spy_is_no_disturbance(spy, arm_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy(WAITS)
    aside: list[int] = []
    monkeypatch.setattr(DisturbanceProbe, "leave_aside", lambda probe, pid: aside.append(pid))
    profiler = Profiler(tmp_path)
    list(Executor(tmp_path, profiler).run(arm_run("push", "rpc_ping"), nothing))
    assert aside == [recording.pid for recording in profiler._recordings]
    assert len(aside) == 1


def test_without_py_spy_the_run_goes_on_and_says_so(
    arm_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling.shutil, "which", lambda *_, **__: None)
    profiler = Profiler(tmp_path)
    assert profiler.notes == ["not profiled: py-spy is not installed; `pip install py-spy`"]
    (made,) = Executor(tmp_path, profiler).run(arm_run("push", "rpc_ping"), nothing)
    assert made.status == "ok"
    assert not (tmp_path / "profiles").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo Error: Permission Denied: Try running again >&2; exit 1",
            "be root, or set kernel.yama.ptrace_scope",
        ),
        ("echo Operation not permitted >&2; exit 1", "py-spy may not look into processes here"),
        ("echo one >&2; echo Error: two >&2; exit 1", "py-spy said 'Error: two'"),
        ("exit 0", "py-spy said nothing"),
    ],
)
def test_what_could_not_be_profiled_is_named_with_the_reason(
    spy, arm_run, child, tmp_path: Path, script: str, reason: str
) -> None:
    spy(script)
    profiler = Profiler(tmp_path)
    recording = profiler.attach(arm_run("push", "rpc_ping"), child.pid)
    child.wait()
    assert recording is not None
    recording.finish()
    (note,) = profiler.notes
    assert note.startswith("push was not profiled: ")
    assert reason in note


@pytest.mark.parametrize(
    ("script", "drawn"),
    [
        ("trap 'echo x > $output; exit 0' INT; while :; do sleep 0.02; done", True),
        ("trap '' INT; while :; do sleep 0.02; done", False),
    ],
)
def test_a_profiler_that_does_not_end_is_ended(
    spy, arm_run, child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, drawn: bool
) -> None:
    monkeypatch.setattr(profiling, "GRACE_S", 2.0)
    spy(script)
    profiler = Profiler(tmp_path)
    recording = profiler.attach(arm_run("push", "rpc_ping"), child.pid)
    child.wait()
    assert recording is not None
    recording.finish()
    assert (tmp_path / "profiles" / "push.svg").exists() is drawn
    assert len(profiler.notes) == (not drawn)


BESIDE = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))


@pytest.mark.skipif(shutil.which("py-spy", path=BESIDE) is None, reason="py-spy is not installed")
def test_py_spy_itself_draws_what_a_worker_does(arm_run, tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    run: ArmRun = arm_run("push", "rpc_ping")
    run.workloads[0].params.update(operations=20_000, duration_s=1.0)
    (made,) = Executor(tmp_path, profiler).run(run, nothing)
    assert made.status == "ok"
    if any("may not look into processes" in note for note in profiler.notes):
        pytest.skip("processes may not be traced here")
    assert profiler.notes == []
    picture = (tmp_path / "profiles" / "push.svg").read_text()
    assert picture.lstrip().startswith("<?xml")
    assert "harness/run/worker.py" in picture
