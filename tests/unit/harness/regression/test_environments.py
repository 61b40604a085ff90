from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.regression import environments
from harness.regression.environments import key_of, place, usual_root


def make(at: environments.Place, text: str = "made") -> None:
    """Make an environment as a set-up does."""
    (at.tree / ".venv").mkdir(parents=True)
    (at.tree / ".venv" / "file").write_text(text)


def test_an_environment_comes_back_to_the_path_that_it_was_made_at(tmp_path: Path) -> None:
    root = tmp_path / "kept"
    with place("key", root, tmp_path / "other") as first:
        assert not first.bring()
        make(first)
        first.keep()
        assert not (first.tree / ".venv").exists()
    assert not first.tree.exists()
    with place("key", root, tmp_path / "other") as again:
        again.tree.mkdir()
        assert again.tree == first.tree
        assert again.bring()
        assert (again.tree / ".venv" / "file").read_text() == "made"


def test_what_was_not_kept_is_gone_and_a_tree_that_was_left_behind_too(tmp_path: Path) -> None:
    with place("key", tmp_path, tmp_path / "other") as first:
        make(first)
    assert not first.tree.exists()
    first.tree.mkdir()
    (first.tree / "left").touch()
    with place("key", tmp_path, tmp_path / "other") as again:
        assert not again.tree.exists()
        again.tree.mkdir()
        assert not again.bring()


def test_two_at_once_have_a_place_each_and_too_many_keep_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_AT_ONCE", 2)
    with (
        place("key", tmp_path, tmp_path / "one") as one,
        place("key", tmp_path, tmp_path / "two") as two,
        place("key", tmp_path, tmp_path / "three") as three,
    ):
        assert one.tree != two.tree
        assert three == (tmp_path / "three", None)
        make(three)
        three.keep()
        assert (three.tree / ".venv").is_dir()  # whoever made it removes it
    with place("key", None, tmp_path / "four") as four:
        assert (four.tree, four.kept) == (tmp_path / "four", None)


def test_what_was_used_longest_ago_goes_first_and_never_what_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "KEPT", 2)
    with place("used", tmp_path, tmp_path / "other") as used:
        os.utime(used.tree.parent, (1, 1))
        for number, key in enumerate("abc"):
            with place(key, tmp_path, tmp_path / "other") as one:
                make(one)
                one.keep()
            os.utime(one.tree.parent, (10 + number, 10 + number))
        assert {folder.name for folder in tmp_path.iterdir()} == {"used-0", "b-0", "c-0"}


def test_the_key_follows_from_the_files_and_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(["a", "b"])
    assert key_of(["a", "b"]) == key
    assert len({key, key_of(["ab", ""]), key_of(["a"]), key_of(["b", "a"])}) == 4
    monkeypatch.setattr(sys, "version", "another")
    assert key_of(["a", "b"]) != key


def test_they_lie_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_root() == tmp_path / "fedbench" / "environments"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert usual_root() == tmp_path / "home" / ".cache" / "fedbench" / "environments"
