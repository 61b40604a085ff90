"""Revisions of a small repository whose `fedbench` writes made-up runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from fedbench.errors import ConfigError
from harness import comparisons
from harness.regression import ab
from harness.regression.ab import (
    Plan,
    RevisionFailed,
    checked_out,
    measure,
    resolve,
    samples_of,
    suspects_only,
)
from harness.regression.changes import compare, key_of, suspected
from harness.regression.margins import MARGINS
from harness.regression.verdict import Key
from tests.fakes.stored import observations, record

SETUP = """\
mkdir -p "$(dirname "${BASH_SOURCE[0]}")/../.venv/bin"
cp "$(dirname "${BASH_SOURCE[0]}")/../program" "$(dirname "${BASH_SOURCE[0]}")/../.venv/bin/fedbench"
"""
PROGRAM = f"""\
#!{sys.executable} -S
import json, random, sys
from pathlib import Path
options = dict(zip(sys.argv[2:], sys.argv[3:]))
SLOW = 1.0
ENDED = "complete"
noise = random.Random(options["--seed"] + str(SLOW)).gauss
made = dict(block=1, order=1, arm="push", stack="push", loop="uvloop", mode="memory", kind="any", params={{}})
folder = Path(options["--output"]) / "a-run"
folder.mkdir(parents=True)
with (folder / "observations.jsonl").open("w") as file:
    for workload, metrics in dict(
        rpc=dict(latency_hops=4 * (1 + noise(0, 0.01)), log_records_per_op=0.0),
        round=dict(round_s=0.002 * SLOW * (1 + noise(0, 0.01))),
    ).items():
        print(json.dumps({{**made, "workload": workload, "status": "ok", "metrics": metrics}}), file=file)
(folder / "run.json").write_text(Path("record.json").read_text().replace("complete", ENDED))
with open("asked", "a") as file:
    print(*sys.argv[1:], file=file)
"""
SAID = []


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "scripts").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.email", "somebody@example.org")
    git(folder, "config", "user.name", "Somebody")

    def commit(name, program):
        (folder / "scripts" / "setup").write_text(SETUP)
        (folder / "program").write_text(program)
        (folder / "program").chmod(0o755)
        (folder / "record.json").write_bytes(msgspec.json.encode(record(observations(1))))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", name)
        git(folder, "tag", name)

    commit("fast", PROGRAM)
    commit("slow", PROGRAM.replace("SLOW = 1.0", "SLOW = 2.0"))
    commit("out_of_time", PROGRAM.replace('ENDED = "complete"', 'ENDED = "budget"'))
    commit("crashing", PROGRAM + "\nraise SystemExit(1)\n")
    commit("broken", PROGRAM.replace("SLOW = 1.0", "sys.exit('it cannot start')"))
    return folder


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "small.yaml").write_text("suite: small\n")
    return Plan(tmp_path / "small.yaml", 8, 7)


def test_two_revisions_are_measured_in_turn_and_a_slow_down_is_found(repository, plan):
    said = []
    with checked_out(("fast", "slow"), said.append, repository) as (base, candidate):
        assert base.commit == resolve("fast", repository)
        batch = measure(base, candidate, plan, said.append)
        asked = (base.folder / "asked").read_text().splitlines()
        assert len(asked) == 16  # once for each block, and once again
        assert len((candidate.folder / "asked").read_text().splitlines()) == 8
        assert f"run {plan.suite} --quiet --blocks 1 --seed" in asked[0]
        folders = [base.folder, candidate.folder]
    samples = samples_of(batch, {})
    changes = compare(samples, MARGINS)
    assert [key_of(change) for change in suspected(changes)] == [Key("push", "round", "round_s")]
    assert all(len(one.control) == 8 for one in samples.values())
    assert suspects_only(changes) == "^(push/round)$"
    assert not any(folder.exists() for folder in folders)
    assert git(repository, "worktree", "list").count("\n") == 0
    orders = [line.split(": ")[1].split(" (")[0] for line in said if line.startswith("block")]
    assert {tuple(orders[at : at + 3]) for at in range(0, len(orders), 3)} != {tuple(orders[:3])}


def test_the_same_revision_twice_shares_a_worktree_and_is_unchanged(repository, plan):
    with checked_out(("fast", "fast"), SAID.append, repository) as (base, candidate):
        assert base.folder == candidate.folder
        batch = measure(base, candidate, plan, SAID.append)
    changes = compare(samples_of(batch, {}), MARGINS)
    assert suspected(changes) == []


def test_environments_are_kept_and_set_up_once_only_where_they_are_the_same(repository, plan, tmp_path):
    """The set-up of this repository makes `.venv` anew each time; here it tells whether one was there."""
    git(repository, "checkout", "-q", "fast")
    (repository / "scripts" / "setup").write_text(
        SETUP + 'ls "$(dirname "${BASH_SOURCE[0]}")/../.venv" >> "$PWD/there"; touch .venv/kept\n'
    )
    git(repository, "commit", "-qam", "telling")
    said, kept = [], tmp_path / "kept"
    for _ in range(2):
        with checked_out(("HEAD", "HEAD"), said.append, repository, kept=kept) as (base, _):
            measure(base, base, plan._replace(blocks=1), said.append)
            there = (base.folder / "there").read_text().split()
        assert not base.folder.exists()
        assert git(repository, "worktree", "list").count("\n") == 0
    assert there == ["bin", "kept"]
    setting_up = [line for line in said if line.startswith("setting up")]
    assert [line.endswith("whose environment was kept") for line in setting_up] == [False, True]
    with checked_out(("HEAD",), said.append, repository) as (base,):
        assert (base.folder / "there").read_text().split() == ["bin"]


def test_the_time_left_is_told_from_the_second_block_on(repository, plan):
    said = []
    with checked_out(("fast",), SAID.append, repository) as (base,):
        measure(base, base, plan._replace(blocks=2), said.append)
    assert [line.endswith("left") for line in said] == [False] * 3 + [True] * 3


def test_what_is_no_revision_is_named(repository):
    with pytest.raises(ConfigError, match="nonsense"):
        resolve("nonsense", repository)
    with pytest.raises(ConfigError, match="is no revision"):
        resolve("--all", repository)


def test_a_revision_that_cannot_run_is_named_and_nothing_is_left(repository, plan):
    with (
        pytest.raises(
            RevisionFailed, match=r"cannot run the suite small\.yaml \(exit code 1\): it cannot start"
        ),
        checked_out(("fast", "broken"), SAID.append, repository) as (base, candidate),
    ):
        measure(base, candidate, plan, SAID.append)
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_run_that_did_not_complete_is_no_sample(repository, plan):
    with (
        pytest.raises(RevisionFailed, match=r"did not complete the suite \(budget\)"),
        checked_out(("fast", "out_of_time"), SAID.append, repository) as (base, candidate),
    ):
        measure(base, candidate, plan, SAID.append)
    with checked_out(("crashing",), SAID.append, repository) as (base,):
        measure(base, base, plan._replace(blocks=1), SAID.append)  # code 1: a criterion failed


def test_a_run_without_a_record_is_named(repository, plan):
    (repository / "program").write_text(PROGRAM.replace("run.json", "none.json"))
    git(repository, "commit", "-qam", "unrecorded")
    with (
        pytest.raises(RevisionFailed, match="left no record of its run"),
        checked_out(("HEAD",), SAID.append, repository) as (base,),
    ):
        measure(base, base, plan, SAID.append)


def test_a_revision_that_cannot_be_set_up_is_named(repository):
    (repository / "scripts" / "setup").write_text("echo no network >&2; exit 3\n")
    git(repository, "commit", "-qam", "offline")
    with (
        pytest.raises(RevisionFailed, match=r"the environment of .* cannot be made: no network"),
        checked_out(("HEAD",), SAID.append, repository),
    ):
        pass
    git(repository, "rm", "-q", "scripts/setup")
    git(repository, "commit", "-qm", "older")
    with (
        pytest.raises(RevisionFailed, match="has no scripts/setup"),
        checked_out(("HEAD",), SAID.append, repository),
    ):
        pass


SLEEPING = "echo $$ > {pid}; sleep 60 & sleep 60\n"


def gone(pid):
    """Whether a process ends soon."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)  # another process has to end
    return False


def test_what_does_not_end_is_ended_with_its_children_and_named(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(ab, "RUN_TIMEOUT_S", 2.0)
    (repository / "scripts" / "setup").write_text(SLEEPING.format(pid=tmp_path / "pid"))
    git(repository, "commit", "-qam", "sleepy")
    with (
        pytest.raises(RevisionFailed, match=r"did not end within 2 s: bash -c"),
        checked_out(("HEAD",), SAID.append, repository),
    ):
        pass
    pid = int((tmp_path / "pid").read_text())
    assert gone(pid)
    assert subprocess.run(["pgrep", "-g", str(pid), "-r", "D,R,S"], check=False).returncode == 1
    assert git(repository, "worktree", "list").count("\n") == 0


def test_an_interrupt_ends_what_runs_and_leaves_nothing(repository, tmp_path, monkeypatch):
    (repository / "scripts" / "setup").write_text(
        f"sleep 0.3; kill -INT {os.getpid()}\n" + SLEEPING.format(pid=tmp_path / "pid")
    )
    git(repository, "commit", "-qam", "interrupted")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), checked_out(("HEAD",), SAID.append, repository):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.glob("fedbench-ab-*")) == []
    assert git(repository, "worktree", "list").count("\n") == 0


def test_another_repository_in_the_environment_is_not_looked_at(repository, tmp_path, monkeypatch):
    fast = resolve("fast", repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert resolve("fast", repository) == fast


def test_why_it_failed_is_told_though_git_cannot_clear_up(repository, monkeypatch):
    monkeypatch.setattr(ab, "GIT_TIMEOUT_S", 1e-9)
    with pytest.raises(RevisionFailed, match="git rev-parse cannot be run"):
        resolve("fast", repository)
    monkeypatch.undo()

    def fail():
        with checked_out(("fast",), SAID.append, repository):
            monkeypatch.setattr(ab, "GIT_TIMEOUT_S", 1e-9)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    monkeypatch.undo()
    git(repository, "worktree", "prune")
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_comparison_screens_confirms_and_concludes(repository, monkeypatch):
    """The command itself, of two revisions of the small repository; the suite is only handed on."""

    def here(names, say, *, kept):
        return checked_out(names, say, repository)

    monkeypatch.setattr(ab, "checked_out", here)
    said = []
    asked = comparisons.Asked("fedbench ab fast slow", [], "inconclusive")
    record = comparisons.compare_revisions(("fast", "slow"), "smoke", 8, asked, said.append)
    assert (record.verdict, record.exit_code) == ("regressed", 1)
    assert [key_of(c) for c in record.changes if c.verdict == "regressed"] == [
        Key("push", "round", "round_s")
    ]
    change = next(c for c in record.changes if c.metric == "round_s")
    assert change.reason.endswith("; a fresh batch says the same")
    assert said[0].startswith("8 blocks of 3 runs: about ")
    assert "confirming 1 suspicions" in said
    assert record.base == f"fast ({resolve('fast', repository)[:7]})"
    same = comparisons.compare_revisions(("fast", "fast"), "smoke", 8, asked, said.append)
    assert (same.verdict, same.exit_code, same.undecided) == ("unchanged", 0, 0)
