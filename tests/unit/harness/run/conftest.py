import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.run import profiling
from harness.run.plan import ArmRun
from harness.suite import Arm, WorkloadSpec

SMALL: dict[str, dict[str, Any]] = {
    "rpc_ping": {"clients": 2, "operations": 320, "duration_s": 2.0, "warmup": 2},
    "memory_round": {"clients": 2, "rounds": 1, "model_bytes": 65536},
    "idle_federation": {"clients": 2, "idle_s": 0.1, "settle_s": 0.05},
    "digits_training": {"clients": 2, "rounds": 1, "least_accuracy": 0.999},
    "floor": {"operations": 100},
}


# Writes a picture when the process that it watches has ended, as py-spy does.
WATCHER = """#!/bin/bash
echo "$@" > "{folder}/arguments"
while [[ $# -gt 0 ]]; do
  case $1 in --pid) pid=$2;; --output) output=$2;; esac; shift
done
{script}
"""


def workers_of(pid: int) -> list[int]:
    """Return the workers that a process has started."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return [c for c in children if b"harness.run.worker" in Path(f"/proc/{c}/cmdline").read_bytes()]


@pytest.fixture
def workers() -> Callable[..., list[int]]:
    return lambda pid=None: workers_of(os.getpid() if pid is None else pid)


@pytest.fixture
def ends_within() -> Callable[[int, float], bool]:
    """Wait for a process that is nobody's child here."""

    def wait(pidfd: int, seconds: float) -> bool:
        try:
            return bool(select.select([pidfd], [], [], seconds)[0])
        finally:
            os.close(pidfd)

    return wait


@pytest.fixture
def arm_run() -> Callable[..., ArmRun]:
    """Make a worker's task of small workloads."""

    def make(stack: str, *kinds: str, **settings: Any) -> ArmRun:
        arm = Arm(stack, stack, "memory", "asyncio", settings, kinds)
        specs = tuple(WorkloadSpec(kind, kind, dict(SMALL.get(kind, {}))) for kind in kinds)
        return ArmRun(1, 1, arm, specs)

    return make


@pytest.fixture
def worker_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have workers run a shell script; $4 and $5 are its ends of the pipes."""

    def make(script: str) -> Path:
        path = tmp_path / "worker"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        logs = tmp_path / "logs"
        logs.mkdir()
        return logs

    return make


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put another program in the place of py-spy."""

    def make(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "py-spy"
        program.write_text(WATCHER.format(folder=folder, script=script))
        program.chmod(0o755)
        monkeypatch.setattr(profiling.shutil, "which", lambda *_, **__: str(program))
        return folder / "arguments"

    return make


@pytest.fixture
def same_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run while somebody edits the checkout."""
    monkeypatch.setattr("harness.run.runner.fingerprint", lambda: {"dirty": False, "commit": "0a1b2c3"})
