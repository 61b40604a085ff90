"""``fedbench doctor``: shows what is there, removes what nobody owns, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fedbench.tensors import segments
from fedbench.tensors.segments import Leftover, Segment
from harness import doctor
from harness.cli import app
from harness.doctor import examine
from harness.records.cgroup import Quota
from harness.records.schema import Disturbance
from harness.run.scratch import MARK


@pytest.fixture
def leftover(own_namespace):
    """A segment of a process that never was: this one's id with another start."""
    name = f"fb-{os.getuid()}-{os.getpid()}-1-{own_namespace}-1"
    with open(f"/dev/shm/{name}", "wb") as file:
        file.write(bytes(1 << 20))
    yield name
    if os.path.exists(f"/dev/shm/{name}"):
        os.unlink(f"/dev/shm/{name}")


def test_leftovers_are_shown_with_the_remedy_and_removed_on_demand(leftover):
    mine = Segment(4096)
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert f"left behind       {leftover} (1.0 MiB) of process {os.getpid()}" in shown.output
    assert shown.output.splitlines()[-1].endswith("remove them with fedbench doctor --clean")
    cleaned = CliRunner().invoke(app, ["doctor", "--clean"])
    assert cleaned.exit_code == 0
    assert f"removed           {leftover}" in cleaned.output
    assert not os.path.exists(f"/dev/shm/{leftover}")
    assert os.path.exists(f"/dev/shm/{mine.name}")
    mine.unlink()
    mine.map = None


def test_folders_of_killed_runs_are_shown_and_removed_on_demand(monkeypatch, tmp_path):
    monkeypatch.setattr(segments, "leftovers", list)
    monkeypatch.setattr(segments, "sweep", list)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "fb-abcdefgh"
    folder.mkdir()
    (folder / MARK).write_text("")
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert f"left behind       {folder} (0.0 MiB) of a run that was killed" in shown.output
    assert "0 segments and 1 folder, 0.0 MiB: remove them with" in shown.output
    cleaned = CliRunner().invoke(app, ["doctor", "--clean"])
    assert cleaned.exit_code == 0
    assert f"removed           {folder}" in cleaned.output
    assert not folder.exists()


def test_without_leftovers_all_is_well(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(segments, "leftovers", list)
    monkeypatch.setattr(segments, "sweep", list)
    for clean in (False, True):
        console = Console(width=200)
        with console.capture() as capture:
            assert examine(console, clean=clean) == 0
        lines = capture.get().splitlines()
        assert [line.split("  ")[0] for line in lines] == [
            "python",
            "other programs",
            "CPU quota",
            "shared memory",
            "open files",
            "leftovers",
        ]
        assert lines[-1].endswith("none")


def test_what_another_sweep_has_removed_meanwhile_is_not_claimed(monkeypatch):
    monkeypatch.setattr(segments, "leftovers", lambda: [Leftover("fb-0-1-1-4-1", 0, 1)])
    monkeypatch.setattr(segments, "sweep", list)
    console = Console(width=200)
    with console.capture() as capture:
        examine(console, clean=True)
    assert "removed" not in capture.get()


def test_who_uses_the_machine_and_its_quota_are_shown(monkeypatch):
    found = Disturbance(others_cores=0.98, culprits=["make (9) 0.96 cores"])
    monkeypatch.setattr(doctor, "watch", lambda: found)
    monkeypatch.setattr(doctor, "usable_cores", lambda: frozenset({0, 1}))
    monkeypatch.setattr(doctor, "narrowest_quota", lambda groups: Quota(0.5, "50000 100000", Path("/group")))
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    assert "other programs    use 0.98 of 2 usable cores: make (9) 0.96 cores" in lines
    assert "CPU quota         0.5 cores, of /group" in lines
    monkeypatch.setattr(doctor, "watch", Disturbance)
    monkeypatch.setattr(doctor, "narrowest_quota", lambda groups: None)
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    assert "other programs    use 0.00 of 2 usable cores" in lines
    assert "CPU quota         none" in lines
