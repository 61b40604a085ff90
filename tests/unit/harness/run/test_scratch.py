import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.run.scratch import MARK, Scratch, abandoned, sweep


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have another folder for what is temporary: others leave things in the usual one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_behind(temporary: Path) -> Path:
    """Return the folder of a process that was killed."""
    program = (
        "import os, signal, sys, tempfile; from harness.run.scratch import Scratch; "
        "tempfile.tempdir = sys.argv[1]; scratch = Scratch(); print(scratch.name, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, str(temporary)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return Path(found.stdout.strip())


def test_a_folder_goes_with_its_owner(temporary: Path) -> None:
    scratch = Scratch()
    (Path(scratch.name) / "socket").write_text("x")
    assert abandoned() == []
    assert sweep() == []
    scratch.cleanup()
    scratch.cleanup()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_is_found_and_removed(temporary: Path) -> None:
    mine, path = Scratch(), left_behind(temporary)
    (path / "socket").write_text("12345")
    (found,) = abandoned()
    assert (found.path, found.nbytes) == (path, 5)
    assert sweep() == [path]
    assert list(temporary.iterdir()) == [Path(mine.name)]
    mine.cleanup()


def test_what_others_have_there_is_left_alone(temporary: Path) -> None:
    (temporary / "fb-theirs").mkdir()
    (temporary / "fb-file").write_text("")
    (temporary / "fb-link").symlink_to(left_behind(temporary / ".."))
    (temporary / "fb-marked").mkdir()
    (temporary / "fb-marked" / MARK).symlink_to(temporary / "fb-file")
    assert abandoned() == []


def test_what_another_user_left_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(temporary)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert abandoned() == []


def test_where_there_are_no_locks_nothing_is_taken_for_abandoned(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    scratch = Scratch()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert abandoned() == []
    scratch.cleanup()
