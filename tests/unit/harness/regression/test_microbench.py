from __future__ import annotations

import json

import pytest

from fedbench.errors import ConfigError
from harness.records.environment import machine_class
from harness.regression.microbench import stored_benchmarks
from harness.regression.stored import stored
from harness.regression.verdict import Key


@pytest.fixture
def files(tmp_path):
    def write(*medians):
        paths = []
        for number, median in enumerate(medians):
            stats = {"min": median / 2, "max": 2 * median, "median": median, "rounds": 3}
            file = {
                "version": "5.1.0",
                "datetime": str(number),
                "machine_info": {"cpu": {"brand_raw": "Imagined CPU", "count": 2}, "machine": "x86_64"},
                "commit_info": {"id": "c" * 40},
                "benchmarks": [{"fullname": "test_codec", "stats": stats}],
            }
            paths.append(tmp_path / f"{number}.json")
            paths[-1].write_text(json.dumps(file))
        return paths

    return write


def test_files_are_blocks_and_benchmarks_are_workloads(files):
    run = stored_benchmarks(files(1e-6, 2e-6, 3e-6))
    assert run.name == "0.json and 2 more"
    values = stored(run.observations).values
    assert values == {Key("benchmarks", "test_codec", "benchmark_s"): {1: 1e-6, 2: 2e-6, 3: 3e-6}}
    assert machine_class(run.record.environment) == "Imagined CPU, 2 cores, x86_64, Python ?"
    assert run.record.environment["commit"] == "c" * 40
    assert run.record.blocks_done == 3


def test_one_file_is_called_by_its_name(files):
    assert stored_benchmarks(files(1e-6)).name == "0.json"


def test_none_is_no_run():
    with pytest.raises(ConfigError, match="no files"):
        stored_benchmarks([])
