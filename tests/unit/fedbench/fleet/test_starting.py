"""Starting: the fork server has loaded what children need, and descriptors suffice."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedbench.fleet import starting
from tests.pace import limit_s
from tests.unit.fedbench.fleet.children import blocked, masked

SCRIPT = """
import os, sys, fedbench
from fedbench.fleet import starting

ARGUMENT = sys.argv[1]

class Mine:
    pass

def look(path):
    found = os.environ.get("FEDBENCH_PRELOAD_MAIN"), "uvloop" in sys.modules, Mine.__module__
    open(path, "w").write("{} {} {}".format(*found))

print("imported", __name__, flush=True)
if __name__ == "__main__":
    context = starting.context("forkserver")
    for n in range(3):
        process = context.Process(target=look, args=(sys.argv[1],))
        process.start()
        process.join()
    print(process.exitcode)
"""


def test_children_share_one_import_of_the_users_script(tmp_path):
    script, report = tmp_path / "script.py", tmp_path / "report"
    script.write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, str(script), str(report)],
        capture_output=True,
        text=True,
        check=True,
        timeout=limit_s(60),
    )
    assert result.stderr == ""
    assert result.stdout.split() == ["imported", "__main__", "imported", "__mp_main__", "0"]
    assert report.read_text() == "None True __mp_main__"


def test_a_script_that_cannot_be_imported_says_so_and_children_fail_by_themselves(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("class Mine:", "if __name__ != '__main__': 1 / 0\nclass Mine:"))
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "report")],
        capture_output=True,
        text=True,
        check=True,
        timeout=limit_s(60),
    )
    assert "could not preload the script" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert result.stdout.split()[-1] == "1"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_is_started_cannot_be_interrupted_until_it_ignores_that(method, tmp_path):
    report = tmp_path / "mask"
    process = starting.context(method).Process(
        target=masked, args=("a", 1, {"server": os.getpid(), "report": str(report)})
    )
    with starting.without_interrupts():
        assert blocked()
        process.start()
    assert not blocked()
    process.join()
    process.close()
    assert report.read_text() == "True False True"


def test_the_fork_server_cannot_be_interrupted_while_it_loads():
    starting.context("forkserver")
    pid = starting.forkserver._forkserver._forkserver_pid
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    assert mask >> signal.SIGINT - 1 & 1


def test_the_limit_of_descriptors_is_raised_as_far_as_needed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        starting.allow_descriptors(10)
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == len(os.listdir("/proc/self/fd")) - 1 + 80 + 256 or raised >= 336
        starting.allow_descriptors(1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
        starting.allow_descriptors(10**9)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
