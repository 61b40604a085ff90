"""Every injected fault applies to this source, is Python that imports, and makes a branch of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "inject.py"


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("inject", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["inject"] = module  # a NamedTuple looks its module up
    spec.loader.exec_module(module)
    return module


inject = loaded()


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "fedbench", tmp_path / "fedbench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("name", inject.FAULTS)
def test_a_fault_applies_and_what_comes_of_it_can_be_imported(source: Path, name: str) -> None:
    files = inject.edited(inject.FAULTS[name], source)
    assert all((source / file).read_text() != (ROOT / file).read_text() for file in files)
    modules = ", ".join(file.removesuffix(".py").replace("/", ".") for file in files)
    code = f"import {modules}, fedbench; print(fedbench.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(source)


def test_an_edit_whose_place_is_gone_is_refused_and_nothing_is_written(source: Path) -> None:
    stub = source / inject.STUB
    stub.write_text(stub.read_text().replace("method = message.method", "name = message.method"))
    before = stub.read_text()
    with pytest.raises(ValueError, match="holds 0 times, not once"):
        inject.edited(inject.FAULTS["cpu"], source)
    assert stub.read_text() == before


def test_a_branch_is_one_commit_and_the_working_tree_is_as_it_was(source: Path) -> None:
    git(source, "init", "-q", "-b", "main")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "one")
    commit = inject.inject("leak", "HEAD", "inject-leak", source)
    assert git(source, "rev-parse", "inject-leak") == commit
    assert git(source, "rev-parse", "inject-leak^") == git(source, "rev-parse", "main")
    assert git(source, "diff", "--name-only", "main", "inject-leak") == inject.TRAINER
    assert git(source, "status", "--porcelain") == ""
    assert git(source, "worktree", "list").count("\n") == 0
    assert inject.inject("leak", "HEAD", "inject-leak", source)  # once more: the branch is made anew


def test_the_list_names_every_fault_and_where_it_shows() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True
    ).stdout
    for name, fault in inject.FAULTS.items():
        assert f"{name:10} {fault.title} ({fault.shows})" in done
    refused = subprocess.run([sys.executable, SCRIPT, "nonsense"], capture_output=True, check=False)
    assert refused.returncode == 2
