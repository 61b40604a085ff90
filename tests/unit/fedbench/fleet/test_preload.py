"""Preloading: what the fork server is told of the script."""

from __future__ import annotations

import gc
import json

from fedbench.fleet import preload


def test_the_script_is_described_for_another_process():
    data = json.loads(preload.describe_main())
    assert {"sys_path", "sys_argv"} <= set(data)
    assert set(data) <= {"sys_path", "sys_argv", "init_main_from_name", "init_main_from_path"}


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
