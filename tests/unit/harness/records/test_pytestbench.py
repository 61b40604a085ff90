import copy
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from harness.records.environment import machine_class
from harness.records.pytestbench import environment, load
from tests.pace import limit_s

FAST, SLOW = "tests/benchmarks/test_x.py::test_fast[1]", "tests/benchmarks/test_x.py::test_slow"
MACHINE = {
    "python_version": "3.11.9",
    "machine": "x86_64",
    "node": "somewhere",
    "cpu": {"brand_raw": "Example  Processor @ 3.0GHz", "count": 2, "hz_actual_friendly": "2.9 GHz"},
}


def benchmark(name, *data):
    stats = {"min": min(data), "max": max(data), "median": statistics.median(data), "mean": 0.0}
    return {"fullname": name, "group": None, "stats": {**stats, "rounds": len(data), "data": list(data)}}


def document(*benchmarks, run=1, **changes):
    found = {
        "machine_info": MACHINE,
        "commit_info": {"id": "0a1b2c3"},
        "benchmarks": list(benchmarks) or [benchmark(FAST, 1e-6, 2e-6, 9e-6)],
        "datetime": f"2025-01-02T03:04:{run:02}",
        "version": "5.1.0",
    }
    return {**found, **changes}


@pytest.fixture
def write(tmp_path):
    count = iter(range(100))

    def write_one(content):
        path = tmp_path / f"run{next(count)}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_one


def test_the_rounds_of_a_process_are_one_sample_and_files_make_several(write):
    one = write(document(benchmark(FAST, 1e-6, 2e-6, 9e-6), benchmark(SLOW, 0.1)))
    two = write(document(benchmark(FAST, 3e-6, 4e-6), run=2, version="4.0.0"))
    assert load([one, two]) == {FAST: {1: 2e-6, 2: 3.5e-6}, SLOW: {1: 0.1}}
    assert load([two, one])[FAST] == {1: 3.5e-6, 2: 2e-6}


def test_without_the_rounds_the_median_is_taken_at_its_word(write):
    saved = document()
    del saved["benchmarks"][0]["stats"]["data"]
    assert load([write(saved)]) == {FAST: {1: 2e-6}}


def test_the_machine_is_a_line_without_its_name(write):
    found = machine_class(environment(write(document())))
    assert found == "Example Processor @ 3.0GHz, 2 cores, x86_64, Python 3.11"
    assert (
        machine_class(environment(write(document(machine_info={}))))
        == "unknown CPU, None cores, None, Python ?"
    )


def test_no_files_are_no_samples():
    with pytest.raises(ConfigError, match="no files: make some with"):
        load([])


def test_samples_are_of_one_machine(write):
    other = copy.deepcopy(MACHINE)
    other["cpu"]["count"] = 64
    with pytest.raises(ConfigError, match=r"64 cores.*samples are of one machine"):
        load([write(document()), write(document(run=2, machine_info=other))])


def test_a_run_counts_once(write):
    with pytest.raises(ConfigError, match="is the same run as"):
        load([write(document()), write(document())])


def edited(**stats):
    found = document()
    found["benchmarks"][0]["stats"].update(stats)
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON, or truncated"),
        (json.dumps(document())[:-30], "is no JSON, or truncated"),
        ("[1]", "was not written by pytest-benchmark"),
        ("{}", "was not written by pytest-benchmark"),
        ({"schema_version": 1, "version": "5.0"}, "was not written by pytest-benchmark"),
        (document(version="six"), "was not written by pytest-benchmark"),
        (document(version="6.0.0"), "pytest-benchmark 6.0.0, which is newer than what is known"),
        (document(version="3.4.1"), "pytest-benchmark 3.4.1, which is older than what is known"),
        (document(benchmarks=[]), "holds no benchmarks: were they enabled"),
        (document(benchmarks={}), "is damaged or was edited: Expected `array`"),
        (document(datetime=None), "is damaged or was edited"),
        (document(benchmark(FAST, 1.0), benchmark(FAST, 2.0)), "is there twice"),
        (edited(median="fast"), "is damaged or was edited"),
        (edited(median=1.5e-6), "the median of its rounds is 2e-06, not 1.5e-06"),
        (edited(rounds=4), "4 rounds are claimed, 3 are there"),
        (edited(data=None, rounds=0), "0 rounds are claimed, none are there"),
        (edited(min=0.0), "are no times in that order"),
        (edited(max=1e-7), "are no times in that order"),
        (edited(min=-1.0, median=-1.0), "are no times in that order"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(write, content, message):
    path = write(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load([path])
    assert caught.value.source == str(path)


def test_all_edited_benchmarks_are_named_together(write):
    found = document(benchmark(FAST, 1.0, 2.0), benchmark(SLOW, 1.0, 2.0))
    for one in found["benchmarks"]:
        one["stats"]["rounds"] = 7
    with pytest.raises(ConfigError) as caught:
        load([write(found)])
    assert [problem.path for problem in caught.value.problems] == [
        f"benchmarks[0] ({FAST})",
        f"benchmarks[1] ({SLOW})",
    ]


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load([tmp_path / "missing.json"])


@pytest.mark.slow
def test_what_the_installed_pytest_benchmark_writes_is_read(tmp_path):
    test = tmp_path / "test_it.py"
    test.write_text("def test_sum(benchmark):\n    assert benchmark(sum, range(1000)) == 499500\n")
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    environment = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    for path in paths:
        run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        run += ["--benchmark-json", str(path), "--benchmark-max-time", "0.05", str(test)]
        subprocess.run(
            run,
            check=True,
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            timeout=limit_s(15),
        )
    samples = load(paths)
    assert list(samples) == ["test_it.py::test_sum"]
    assert all(median > 1e-7 for median in samples["test_it.py::test_sum"].values())
    assert Path(paths[0]).stat().st_size > 1000
