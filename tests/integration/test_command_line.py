"""The command as a process: exit codes, signals, pipes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.pace import limit_s

FEDBENCH = str(Path(sys.executable).with_name("fedbench"))
LONG_SUITE = """
blocks: 1
workloads:
  floor: {operations: 300}
  idle: {workload: idle_federation, clients: 2, idle_s: 60.0}
arms:
  floors: {workloads: [floor]}
  push: {workloads: [floor, idle]}
"""
PROCESS_SUITE = """
blocks: 1
workloads:
  rounds: {workload: fedavg_round, clients: 2, rounds: 1000000, model_bytes: 65536}
arms:
  push_process: {stack: push, mode: process, workloads: [rounds]}
"""
CONFIG = "server: {trainer: {args: {rounds: %d}}}\nclients: {count: 2}\n"

pytestmark = pytest.mark.slow

Signal = Callable[[subprocess.Popen[str]], None]


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


SIGNALS = pytest.mark.parametrize("interrupt", [press_ctrl_c, terminate])


def fedbench(*arguments: object, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FEDBENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit_s(15),
        check=False,
        **options,
    )


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a process group of its own, and see that it ends."""
    process = subprocess.Popen(
        [FEDBENCH, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"no line has {text!r}")


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_what_is_wrong_with_a_configuration_is_listed_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("mode: memry\nclients: {count: 0}\nservr: {}\n")
    done = fedbench("federate", config.name, cwd=str(tmp_path))  # a long path would be broken over two lines
    assert (done.returncode, done.stdout) == (2, "")
    source, *problems = done.stderr.splitlines()
    assert source == "config.yaml:"
    assert sorted(problem.split(":")[0].strip() for problem in problems) == ["clients.count", "mode", "servr"]


def test_a_federation_is_run_and_its_model_saved(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG % 2)
    done = fedbench("federate", config, "--save", "model.npz", "--log-dir", "logs", cwd=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "saved model version 2 to model.npz"
    quiet = fedbench("federate", config, "--init", tmp_path / "model.npz", "-q", cwd=str(tmp_path))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@SIGNALS
def test_an_interrupted_federation_saves_its_model(tmp_path: Path, interrupt: Signal) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG % 100_000)
    model = tmp_path / "model.npz"
    with started("federate", config, "--save", model) as process:
        read_until(process, "round      2/100000")
        interrupt(process)
        out, error = process.communicate(timeout=limit_s(10))
    assert (process.returncode, error) == (130, "")
    interrupted, saved = out.splitlines()[-2:]
    assert interrupted == "interrupted"
    assert saved.startswith("saved model version ")
    assert saved.endswith(f" to {model}")
    with np.load(model) as arrays:
        assert arrays["weights"].any()


@SIGNALS
def test_an_interrupted_run_keeps_what_was_measured_and_leaves_no_process(
    tmp_path: Path, interrupt: Signal
) -> None:
    suite = tmp_path / "long.yaml"
    suite.write_text(LONG_SUITE)
    with started("run", suite, "-o", tmp_path / "results", "-v") as process:
        read_until(process, "push floor: unsupported")
        (worker,) = children(process.pid)
        pidfd = os.pidfd_open(worker)
        interrupt(process)
        out, error = process.communicate(timeout=limit_s(10))
    try:
        assert select.select([pidfd], [], [], 0)[0], "the worker has outlived the command"
    finally:
        os.close(pidfd)
    (folder,) = (tmp_path / "results").iterdir()
    assert (process.returncode, error) == (130, "")
    last = out.splitlines()[-1]
    assert last.startswith("INTERRUPTED: interrupted after ")
    assert last.endswith(f" cells, which are kept — {folder / 'report.html'}")
    record = json.loads((folder / "run.json").read_bytes())
    assert (record["ended"], record["exit_code"]) == ("interrupted", 130)
    assert (folder / "observations.jsonl").read_text().count("\n") in (1, 2)
    assert (folder / "report.md").is_file()


def descendants(pid: int) -> set[int]:
    try:
        return {pid}.union(*(descendants(child) for child in children(pid)))
    except FileNotFoundError:
        return set()


def segments_of(pids: set[int]) -> list[str]:
    """Return the segments in shared memory that processes own, by name."""
    return [
        name for name in os.listdir("/dev/shm") if name.startswith("fb-") and int(name.split("-")[2]) in pids
    ]


@SIGNALS
def test_an_interrupted_run_of_processes_leaves_nothing_in_shared_memory(
    tmp_path: Path, interrupt: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "processes.yaml"
    suite.write_text(PROCESS_SUITE)
    with tempfile.TemporaryDirectory() as scratch:  # short, as the names of sockets must be
        monkeypatch.setenv("TMPDIR", scratch)
        with started("run", suite, "-o", tmp_path / "results") as process:
            end_s = time.monotonic() + limit_s(15.0)
            owners: set[int] = set()
            while len(owners) < 3 and time.monotonic() < end_s:  # the server and both clients
                pids = descendants(process.pid)
                owners = {int(name.split("-")[2]) for name in segments_of(pids)}
                time.sleep(0.02)
            assert len(owners) == 3
            interrupt(process)
            out, error = process.communicate(timeout=limit_s(10))
        assert (process.returncode, error) == (130, "")
        assert "INTERRUPTED" in out
        assert segments_of(pids) == []
        assert os.listdir(scratch) == []


def piped(command: str, folder: Path) -> tuple[list[str], str, str]:
    """Run a pipeline; return the exit codes of its parts, its output and its errors."""
    script = f"{command}; echo ${{PIPESTATUS[@]}} >&3"
    read, write = os.pipe()
    with os.fdopen(read) as codes:
        done = subprocess.run(
            ["bash", "-c", f"exec 3>&{write}; {script}"],
            capture_output=True,
            text=True,
            timeout=limit_s(15),
            check=True,
            cwd=folder,
            pass_fds=(write,),
            env={**os.environ, "FEDBENCH": FEDBENCH},
        )
        os.close(write)
        return codes.read().split(), done.stdout, done.stderr


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    assert piped("$FEDBENCH list | head -1", tmp_path) == (["0", "0"], "Suites\n", "")


def test_a_run_goes_on_when_its_reader_has_gone(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(
        "blocks: 1\nworkloads: {floor: {operations: 100}}\narms: {floors: {}}\n"
    )
    codes, out, error = piped("$FEDBENCH run short.yaml | grep -m 1 worker", tmp_path)
    assert (codes, out, error) == (["0", "0"], "1 worker, about 0 s\n", "")
    (folder,) = (tmp_path / "results").iterdir()
    assert (folder / "report.html").is_file()


def test_the_command_starts_quickly_without_what_it_does_not_need() -> None:
    code = "import sys, harness.cli; print([m for m in ('pandas', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
