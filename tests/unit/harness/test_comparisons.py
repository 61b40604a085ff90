from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from harness.records.environment import fingerprint
from harness.regression.aa import base_runs, calibrate, keep
from harness.regression.margins import MARGINS
from harness.regression.runs import read_run
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


def test_a_damaged_calibration_is_named(runs, fedbench):
    kept = keep(
        calibrate(base_runs(read_run(_many(runs))), MARGINS, 30, seed=0), runs / "results" / "calibrations"
    )
    kept.write_text("{")
    done = fedbench("compare", "base", "slow")
    assert (done.code, "run `fedbench aa --fresh`" in done.err) == (2, True)


def test_a_calibration_of_another_suite_or_long_ago_is_said(runs, fedbench):
    there = runs / "results" / "calibrations"
    base = base_runs(read_run(_many(runs)))
    calibration = calibrate(base, MARGINS, 30, seed=0)

    def kept(**changes):
        keep(replace(calibration, base=replace(base, **changes)), there)

    long_ago = f"{datetime.now(UTC) - timedelta(days=31):%Y-%m-%dT%H:%M:%SZ}"
    kept(measured_utc=long_ago)
    told = fedbench("compare", "base", "same").out
    assert f"warning: the calibration is of {long_ago}, more than 30 days ago" in told
    assert "0 of 30" in told
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kept(measured_utc=now)
    assert "the calibration is of" not in fedbench("compare", "base", "same").out
    other = fedbench("compare", "base", "same", "--threshold", "round_s=20%").out
    assert "warning: the error rates of this machine are those of the usual margins" in other
    assert "not calibrated here" in other
    kept(measured_utc=now, suite="small")
    other = fedbench("compare", "base", "same").out
    assert "warning: this machine is calibrated for the suite small, not for check" in other
    assert "not calibrated here" in other


def test_a_profiled_run_is_compared_with_nothing(runs, fedbench):
    write(runs / "profiled", observations(10), environment=fingerprint(), suite="check", profiled=True)
    for arguments in (
        ("compare", "base", "profiled"),
        ("compare", "profiled", "base"),
        ("aa", "--run", "profiled"),
    ):
        done = fedbench(*arguments)
        assert (done.code, "was profiled: measure without --profile" in done.err) == (2, True)


def _many(folder):
    return write(folder / "many", observations(60), environment=fingerprint(), suite="check")
