"""Preloading: what the fork server is told of the script."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys

from fedbench.fleet import preload
from tests.pace import limit_s


def test_the_script_is_described_for_another_process():
    data = json.loads(preload.describe_main("one", "two"))
    assert data.pop("modules") == ["one", "two"]
    assert {"sys_path", "sys_argv"} <= set(data)
    assert set(data) <= {"sys_path", "sys_argv", "init_main_from_name", "init_main_from_path"}


def test_what_else_is_named_is_loaded(monkeypatch):
    monkeypatch.setenv(preload.MAIN_VARIABLE, preload.describe_main("this"))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setattr("multiprocessing.spawn._fixup_main_from_path", lambda path: None)
    monkeypatch.setattr("multiprocessing.spawn._fixup_main_from_name", lambda name: None)
    try:
        preload.load()
    finally:
        gc.unfreeze()
    assert "this" in sys.modules


def test_what_fails_is_written_to_standard_error(monkeypatch, capsys):
    monkeypatch.setenv(preload.MAIN_VARIABLE, "no json")
    try:
        preload.load()
    finally:
        gc.unfreeze()
    assert "could not preload the script" in capsys.readouterr().err


def test_without_a_script_only_the_runtime_is_loaded(monkeypatch, capsys):
    monkeypatch.delenv(preload.MAIN_VARIABLE, raising=False)
    try:
        preload.load()
    finally:
        gc.unfreeze()
    assert capsys.readouterr().err == ""


UNGUARDED = """
import fedbench
from fedbench import Federation

async def main():
    federation = Federation.from_mapping({
        "mode": "process",
        "server": {"trainer": {"args": {"rounds": 1}}},
        "clients": {"count": 2, "learner": {"type": "tests.fakes.fleet:Stepper"}},
    })
    history = await federation.run()
    print("trained", history.rounds[0].arrived, flush=True)

fedbench.run(main())
"""


def test_a_script_that_forgot_its_guard_trains_once_and_is_told(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=limit_s(20), env=environment
    )
    assert result.stdout == "trained ('yaml_client_1', 'yaml_client_2')\n"
    [line] = result.stderr.splitlines()
    assert line.startswith(f"{script} starts processes while it is imported: put that under `if __name__")
