from __future__ import annotations

import errno
import os

import pytest
from msgspec.structs import replace

from fedbench.errors import ConfigError
from harness.regression import baselines
from harness.regression.baselines import (
    NoBaseline,
    baseline,
    check_machine,
    names,
    remove_baseline,
    set_baseline,
)
from harness.regression.runs import read_run
from tests.fakes.stored import ENVIRONMENT, observations, write


def stored(folder, made, **changes):
    return read_run(write(folder, made, **changes))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "baselines"


def test_a_run_is_kept_without_what_comparisons_do_not_need(tmp_path, root):
    made = [replace(o, texts={"model_digest": "x"}) for o in observations(2)]
    folder = set_baseline("main", stored(tmp_path / "run", made), root=root)
    assert folder == root / "main"
    kept = baseline("main", root=root)
    assert kept.name == "baseline main"
    assert [o.metrics for o in kept.observations] == [o.metrics for o in made]
    assert all(not o.texts and not o.histograms for o in kept.observations)
    assert sorted(p.name for p in folder.iterdir()) == ["observations.jsonl", "run.json"]
    assert names(root=root) == ["main"]


def test_one_is_replaced_only_if_asked_for(tmp_path, root):
    first, second = (stored(tmp_path / name, observations(n)) for name, n in (("a", 2), ("b", 3)))
    set_baseline("main", first, root=root)
    with pytest.raises(ConfigError, match="give --replace"):
        set_baseline("main", second, root=root)
    assert baseline("main", root=root).record.blocks_done == 2
    set_baseline("main", second, replace_old=True, root=root)
    assert baseline("main", root=root).record.blocks_done == 3
    assert os.listdir(root) == ["main"]


def test_a_baseline_that_cannot_be_written_leaves_the_old_one(tmp_path, root, monkeypatch):
    run = stored(tmp_path / "run", observations(2))
    set_baseline("main", run, root=root)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(baselines.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        set_baseline("main", run, replace_old=True, root=root)
    monkeypatch.undo()
    assert baseline("main", root=root).record.blocks_done == 2
    assert os.listdir(root) == ["main"]


def test_runs_that_will_not_do_are_refused_with_every_reason(tmp_path, root):
    failed = [replace(o, status="failed") if o.workload == "rpc" else o for o in observations(2)]
    failed = [replace(o, status="timeout") if o.workload == "round" else o for o in failed]
    run = stored(tmp_path / "run", failed)
    with pytest.raises(ConfigError) as caught:
        set_baseline("main", run, root=root)
    assert [problem.message for problem in caught.value.problems] == [
        "push rpc ended as failed: a baseline must have measured all",
        "push round ended as timeout: a baseline must have measured all",
    ]
    assert not root.exists()


def test_the_old_one_stays_where_the_new_one_cannot_be_put(tmp_path, root, monkeypatch):
    old = stored(tmp_path / "old", observations(2))
    set_baseline("main", old, root=root)
    rename = os.rename

    def full(source, target):
        if target == root / "main" and not str(source).endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr("os.rename", full)
    with pytest.raises(OSError, match="No space left"):
        set_baseline("main", stored(tmp_path / "new", observations(3)), replace_old=True, root=root)
    assert baseline("main", root=root).record == old.record
    assert [path.name for path in root.iterdir()] == ["main"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a\n"])
def test_names_that_play_tricks_are_refused(tmp_path, root, name):
    run = stored(tmp_path / "run", observations(2))
    for use in (lambda: set_baseline(name, run, root=root), lambda: remove_baseline(name, root=root)):
        with pytest.raises(ConfigError, match="is no name"):
            use()
    assert not root.exists()


def test_one_that_is_missing_is_named_with_those_there_are(tmp_path, root):
    with pytest.raises(NoBaseline, match="there are none: make one by `fedbench baseline set NAME RUN`"):
        baseline("main", root=root)
    set_baseline("release", stored(tmp_path / "run", observations(2)), root=root)
    with pytest.raises(NoBaseline, match="known: release"):
        baseline("main", root=root)
    with pytest.raises(NoBaseline, match="nothing was removed"):
        remove_baseline("main", root=root)
    remove_baseline("release", root=root)
    assert names(root=root) == []


def test_another_class_of_machines_is_refused_with_the_reason(tmp_path):
    here = read_run(write(tmp_path / "here", observations(1)))
    check_machine(read_run(write(tmp_path / "again", observations(1), environment=ENVIRONMENT)), here)
    faster = {**ENVIRONMENT, "cpu_model": "Imagined CPU @ 3.50GHz"}
    with pytest.raises(
        NoBaseline, match=r"measured on Imagined CPU @ 2\.00GHz, .* and faster on Imagined CPU @ 3\.50GHz"
    ):
        check_machine(here, read_run(write(tmp_path / "faster", observations(1), environment=faster)))
    other = {**ENVIRONMENT, "cores_usable": 64}
    there = read_run(write(tmp_path / "there", observations(1), environment=other))
    with pytest.raises(
        NoBaseline,
        match=r"was measured on Imagined CPU @ 2.00GHz, 64 cores.*and here on .* 2 cores.*fedbench ab",
    ):
        check_machine(there, here)
