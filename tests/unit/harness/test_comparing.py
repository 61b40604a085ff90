from __future__ import annotations

import json

from harness.records.environment import fingerprint
from tests.fakes.stored import observations, write


def test_the_answer_has_many_formats(runs, fedbench):
    done = fedbench("compare", "base", "slow", "--format", "json", "-o", "answer.json")
    assert done.code == 1
    assert done.last.startswith("REGRESSED")
    assert json.loads((runs / "answer.json").read_text())["verdict"] == "regressed"
    assert "::error" in fedbench("compare", "base", "slow", "--format", "github").out
    assert fedbench("report", "answer.json", "--format", "md").out.startswith("#")


def test_other_margins_and_what_fails_can_be_said(runs, fedbench):
    assert fedbench("compare", "base", "slow", "--threshold", "round_s=150%").code == 0
    done = fedbench("compare", "base", "slow", "--threshold", "round_s=-1", "--threshold", "nonsense=1")
    assert done.code == 2
    assert "give the share as 0.2 or 20 %, above 0" in done.err
    assert "no metric 'nonsense' is gated" in done.err


def test_baselines_are_listed_replaced_and_removed(runs, fedbench):
    assert "no baselines" in fedbench("baseline", "list").out
    fedbench("baseline", "set", "main", "base")
    assert fedbench("baseline", "set", "main", "slow").code == 2
    assert fedbench("baseline", "set", "main", "slow", "--replace").code == 0
    assert fedbench("baseline", "list").out.startswith("main: check at ")
    assert fedbench("baseline", "rm", "main").code == 0
    missing = fedbench("baseline", "rm", "main")
    assert (missing.code, missing.out) == (5, "")
    assert fedbench("check", "base", "--baseline", "../base").code == 2


def test_a_baseline_of_another_machine_is_no_baseline(runs, fedbench):
    write(runs / "there", observations(10), environment={**fingerprint(), "cores_usable": 96})
    fedbench("baseline", "set", "there", "there")
    done = fedbench("check", "same", "--baseline", "there")
    assert done.code == 5
    assert "96 cores" in done.err
    assert "fedbench ab REF_A REF_B" in done.err


def test_revisions_that_there_are_not_are_named(fedbench):
    done = fedbench("ab", "nonsense", "HEAD")
    assert (done.code, "nonsense" in done.err) == (2, True)
    assert fedbench("ab", "HEAD", "HEAD", "--suite", "nonsense").code == 2
