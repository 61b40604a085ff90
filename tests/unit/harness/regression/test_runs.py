from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from fedbench.errors import ConfigError
from harness.regression.runs import read_run
from tests.fakes.stored import observations, write


def test_a_run_is_read_with_all_that_it_measured(tmp_path):
    made = observations(2)
    run = read_run(write(tmp_path / "one", made))
    assert (run.name, run.observations) == ("one", made)
    assert read_run(tmp_path / "one", "main").name == "main"


def test_a_run_that_was_broken_off_is_compared_with_nothing(tmp_path):
    folder = write(tmp_path / "one", observations(2), ended="budget")
    with pytest.raises(ConfigError, match=r"was not completed \(budget\): compare complete runs only"):
        read_run(folder)
    assert read_run(folder, whole=False).record.blocks_done == 2


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="name the folder of a run"):
        read_run(tmp_path)
    failed = [replace(o, status="failed") for o in observations(1)]
    with pytest.raises(ConfigError, match="holds no cell that was measured"):
        read_run(write(tmp_path / "failed", failed))
    with pytest.raises(ConfigError, match="holds no cell that was measured"):
        read_run(write(tmp_path / "empty", []))


def test_a_run_of_a_newer_schema_or_cut_short_is_named(tmp_path):
    folder = write(tmp_path / "one", observations(1))
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(ConfigError, match="schema version 99: this program reads version 1"):
        read_run(folder)
    (folder / "run.json").write_text(text[: len(text) // 2])
    with pytest.raises(ConfigError, match="is damaged"):
        read_run(folder)


def test_a_profiled_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="was profiled: measure without --profile"):
        read_run(write(tmp_path / "one", observations(1), profiled=True), whole=False)


@pytest.mark.parametrize(
    ("workload", "name", "value"),
    [("round", "round_s", -0.1), ("rpc", "log_records_per_op", -1.0), ("bare", "latency_p50_s", -1e-6)],
)
def test_what_nobody_can_have_measured_is_named(tmp_path, workload, name, value):
    made = [
        replace(o, metrics={**o.metrics, name: value}) if (o.workload, o.block) == (workload, 2) else o
        for o in observations(3)
    ]
    with pytest.raises(ConfigError, match=rf"block 2 of \w+ {workload}: {name} is .*: that was not measured"):
        read_run(write(tmp_path / "one", made))


def test_a_run_whose_files_contradict_each_other_is_refused(tmp_path):
    folder = write(tmp_path / "one", observations(3))
    lines = (folder / "observations.jsonl").read_text().splitlines(keepends=True)
    (folder / "observations.jsonl").write_text("".join(lines[:-4]))
    with pytest.raises(ConfigError, match=r"observations\.jsonl: *\n? *has "):
        read_run(folder)


def test_a_number_beyond_all_is_named(tmp_path):
    folder = write(tmp_path / "one", observations(1))
    lines = folder / "observations.jsonl"
    lines.write_text(re.sub(r'"round_s":[0-9.e-]+', '"round_s":1e300', lines.read_text()))
    with pytest.raises(ConfigError, match=r"1e\+300, which nothing measures"):
        read_run(folder)
