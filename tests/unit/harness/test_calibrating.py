from __future__ import annotations

from datetime import UTC, datetime

from harness.records.environment import fingerprint
from tests.fakes.stored import observations, write


def test_rates_are_drawn_from_base_runs_kept_and_quoted(runs, fedbench):
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    many = observations(60)
    write(runs / "many", many, environment=fingerprint(), ended="budget", started_utc=now, suite="check")
    done = fedbench("aa", "--run", "many", "--comparisons", "30")
    assert done.code == 0
    found = "of 30 slow-downs of the detectable size 30 were confirmed (at least 90.5%)"
    assert f"paired: 0 of 30 A/A comparisons alarmed (at most 9.5% at 95 %); {found}" in done.out
    assert "of as many of twice the usual margin 30, of +100 % 30; two comparisons of the same" in done.out
    assert "agreed in every change in 10 of 10 pairs (kappa 1.00)" in done.out
    again = fedbench("aa", "--comparisons", "40")
    assert f"drawing from the base runs of {now}" in again.out
    assert "0 of 40" in again.out
    told = fedbench("compare", "base", "slow").out
    assert "not calibrated here" not in told
    assert "0 of 40" in told


def test_base_runs_that_will_not_do_are_refused(runs, fedbench):
    write(runs / "there", observations(60), environment={**fingerprint(), "cores_usable": 96}, suite="check")
    done = fedbench("aa", "--run", "there")
    assert (done.code, "collect them here" in done.err) == (2, True)
    write(runs / "other", observations(60), environment=fingerprint(), suite="quick")
    done = fedbench("aa", "--run", "other")
    assert (done.code, "are of the suite quick, not of check" in done.err) == (2, True)
    bare = observations(60, floors=False)
    write(runs / "bare", bare, environment=fingerprint(), suite="check")
    done = fedbench("aa", "--run", "bare")
    assert (done.code, "has no floor in every block" in done.err) == (2, True)
    done = fedbench("aa", "--run", "base")
    assert (done.code, "collect more base runs" in done.err) == (2, True)


def test_a_calibration_that_finds_too_little_fails(runs, fedbench):
    noisy = observations(60, spread=0.5)
    write(runs / "noisy", noisy, environment=fingerprint(), suite="check")
    done = fedbench("aa", "--run", "noisy", "--comparisons", "30")
    assert done.code == 1
