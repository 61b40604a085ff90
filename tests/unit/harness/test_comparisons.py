from __future__ import annotations

import json
import random
from datetime import UTC, datetime

from harness.gate.margins import MARGINS
from harness.records.environment import fingerprint
from harness.regress.calibration import base_runs, calibrate, keep
from harness.regress.runs import read_run
from tests.fakes.stored import observations, write


def test_a_slow_down_is_the_only_thing_that_check_reports(runs, fedbench):
    assert fedbench("baseline", "set", "main", "base").code == 0
    done = fedbench("check", "slow", "--baseline", "main")
    assert done.code == 1
    assert done.last.startswith("REGRESSED: 1 regressed, 7 unchanged; worst: round_s of push round")
    assert "not calibrated here" in done.out
    assert fedbench("check", "slow", "--baseline", "main").out == done.out
    assert fedbench("check", "same", "--baseline", "main").code == 0
    assert fedbench("compare", "slow", "base").last.startswith("IMPROVED")


def test_results_of_pytest_benchmark_are_checked_by_the_same_statistics(runs, fedbench):
    rng = random.Random(1)

    def files(name, factor):
        paths = []
        for number in range(10):
            benchmarks = [
                {"fullname": title, "stats": {"min": s, "max": 9 * s, "median": 2 * s, "rounds": 5}}
                for title, s in (
                    ("test_codec", 1e-6 * (1 + rng.gauss(0, 0.01))),
                    ("test_session", factor * 1e-6 * (1 + rng.gauss(0, 0.01))),
                )
            ]
            file = {"version": "5.1.0", "datetime": f"{name} {number}", "benchmarks": benchmarks}
            paths.append(runs / f"{name}{number}.json")
            paths[-1].write_text(json.dumps({**file, "machine_info": {}, "commit_info": {}}))
        return paths

    assert fedbench("baseline", "set", "micro", *files("base", 1.0)).code == 0
    slow = fedbench("check", *files("slow", 2.0), "--baseline", "micro")
    assert slow.code == 1
    assert slow.last.startswith(
        "REGRESSED: 1 regressed, 1 unchanged; worst: benchmark_s of benchmarks test_session"
    )
    assert fedbench("check", *files("same", 1.0), "--baseline", "micro").code == 0
    assert fedbench("check", "base", "slow", "--baseline", "micro").code == 2


def test_rates_are_drawn_from_base_runs_kept_and_quoted(runs, fedbench):
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    many = observations(60)
    write(runs / "many", many, environment=fingerprint(), ended="budget", started_utc=now)
    done = fedbench("aa", "--run", "many", "--comparisons", "30")
    assert done.code == 0
    assert "paired: 0 of 30 A/A comparisons alarmed (at most 9.5% at 95 %), 30 of 30 slow-downs" in done.out
    again = fedbench("aa", "--comparisons", "40")
    assert f"drawing from the base runs of {now}" in again.out
    assert "0 of 40" in again.out
    told = fedbench("compare", "base", "slow").out
    assert "not calibrated here" not in told
    assert "0 of 40" in told


def test_base_runs_of_another_machine_or_too_few_are_refused(runs, fedbench):
    write(runs / "there", observations(60), environment={**fingerprint(), "cores_usable": 96})
    done = fedbench("aa", "--run", "there")
    assert (done.code, "collect them here" in done.err) == (2, True)
    done = fedbench("aa", "--run", "base")
    assert (done.code, "collect more base runs" in done.err) == (2, True)


def test_a_calibration_that_finds_too_little_fails(runs, fedbench):
    noisy = observations(60, spread=0.5)
    write(runs / "noisy", noisy, environment=fingerprint())
    done = fedbench("aa", "--run", "noisy", "--comparisons", "30")
    assert done.code == 1


def test_a_damaged_calibration_is_named(runs, fedbench):
    kept = keep(
        calibrate(base_runs(read_run(_many(runs))), MARGINS, 30, seed=0), runs / "results" / "calibrations"
    )
    kept.write_text("{")
    done = fedbench("compare", "base", "slow")
    assert (done.code, "run `fedbench aa --fresh`" in done.err) == (2, True)


def _many(folder):
    return write(folder / "many", observations(60), environment=fingerprint())
