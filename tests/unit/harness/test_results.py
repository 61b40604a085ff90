import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from fedbench.errors import ConfigError
from harness import results
from harness.records.metrics import METRICS
from harness.records.schema import SCHEMA_VERSION
from harness.records.store import OBSERVATIONS, RUN, SAMPLES, Store
from tests.fakes.results import CRITERIA, bare_run, fake_observations, fake_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("results") / "run")
    lines = (msgspec.json.encode(o) + b"\n" for o in fake_observations())
    (store.folder / OBSERVATIONS).write_bytes(b"".join(lines))
    store.write_run(fake_run())
    return store.folder


@pytest.fixture(scope="module")
def run(folder: Path) -> results.Results:
    return results.load(str(folder))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copied(folder: Path, to: Path, name: str, data: bytes) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    (to / name).write_bytes(data)
    return to


@pytest.mark.slow
def test_observations_are_those_of_the_samples(folder, run):
    samples = pd.read_csv(folder / SAMPLES)
    same = [*results.OBSERVED, "metric", "unit", "value"]
    pd.testing.assert_frame_equal(
        run.observations[same], samples[same].fillna({"unit": ""}), check_dtype=False
    )


@pytest.mark.slow
def test_a_missing_value_says_why(run):
    missing = run.observations[run.observations["value"].isna()]
    assert len(missing)
    assert (missing["missing"] != "").all()
    assert (run.observations.dropna(subset="value")["missing"] == "").all()


def test_what_did_not_end_well_has_a_row_with_its_reason(run):
    bad = [o for o in fake_observations() if o.status != "ok"]
    assert len(run.failures) == len(bad) > 1
    killed = run.failures.query("status == 'failed'").iloc[0]
    assert (killed["block"], killed["arm"], killed["workload"]) == (3, "push_asyncio", "broadcast")
    assert killed["reason"] == "the worker ended with SIGKILL; 3 of 20 clients had the model"
    assert set(run.failures["status"]) == {"failed", "unsupported"}


def test_cells_and_criteria_are_those_of_the_record(run):
    assert run.record == fake_run()
    assert run.criteria["id"].tolist() == [c.id for c in CRITERIA]
    assert run.criteria["value"].isna().sum() == 1
    for row in run.cells.sample(20, random_state=1).itertuples():
        cell = next(c for c in fake_run().cells if (c.arm, c.workload) == (row.arm, row.workload))
        found = cell.metrics[row.metric]
        assert (row.unit, row.n, row.direction) == (found.unit, found.n, found.direction)
        assert found.value is None if pd.isna(row.value) else row.value == found.value


def test_distributions_are_there_whole_and_as_percentiles(run):
    buckets = run.histograms.groupby(["workload", "arm", "distribution"])["count"].sum()
    rows = run.percentiles.set_index(["workload", "arm", "distribution"])
    assert (buckets.sort_index() == rows["count"].sort_index()).all()
    push = rows.loc[("rpc_ping", "push", "latency")]
    assert 0 < push["p50_s"] <= push["p90_s"] <= push["p99_s"] <= push["max_s"]
    assert pd.isna(push["p999_s"])
    largest = run.histograms.query("workload == 'rpc_ping' and arm == 'push' and distribution == 'latency'")
    assert largest["value_s"].max() == push["max_s"]


def test_loading_changes_nothing(folder, run):
    before = contents(folder)
    results.load(folder)
    assert contents(folder) == before


def test_a_metric_of_another_version_has_no_unit(folder, tmp_path):
    first = msgspec.structs.replace(fake_observations()[0], metrics={"latency_p42_s": 1.0, "other": None})
    changed = copied(folder, tmp_path / "run", OBSERVATIONS, msgspec.json.encode(first) + b"\n")
    Store(changed).write_record(bare_run(ended="interrupted"))
    frame = results.load(changed).observations
    assert "latency_p42_s" not in METRICS
    assert frame["unit"].tolist() == ["", ""]
    assert frame["value"].isna().tolist() == [False, True]


def test_a_run_that_measured_nothing_has_nothing_to_load(tmp_path):
    Store(tmp_path).write_record(bare_run())
    with pytest.raises(ConfigError, match="holds no observation: nothing was measured"):
        results.load(tmp_path)


def test_a_run_that_goes_on_can_be_read(folder, tmp_path):
    """Its record is written before each worker, so that observations may be newer."""
    changed = copied(folder, tmp_path / "run", RUN, edited(cells=[], order=[], ended="interrupted"))
    assert len(results.read(changed)[1]) == len(fake_observations())


def edited(**changes: object) -> bytes:
    return json.dumps({**json.loads(msgspec.json.encode(fake_run())), **changes}).encode()


HISTOGRAM = {
    "linear_bits": 10,
    "count": 2,
    "sum_ns": 1,
    "min_ns": 1,
    "max_ns": 1,
    "indices": [1],
    "counts": [1],
}
OBSERVED = msgspec.json.encode(fake_observations()[0])
DAMAGED = b"".join(
    msgspec.json.encode(msgspec.structs.replace(o, histograms={"a": HISTOGRAM} if number == 0 else {}))
    + b"\n"
    for number, o in enumerate(fake_observations())
)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (RUN, edited(schema_version=SCHEMA_VERSION + 1), "this program reads version 1; update fedbench"),
        (RUN, edited(schema_version="1"), "has schema version 1: this program reads version 1"),
        (RUN, edited()[:-100], "is damaged"),
        (RUN, b"", "is damaged"),
        (RUN, b"\xff\xfe", "is damaged"),
        (RUN, b"[1]", "has schema version None"),
        (RUN, edited(verdict=None), r"is damaged: .*\$.verdict"),
        (RUN, edited(criteria=[{"id": "a"}]), r"is damaged: .*\$.criteria\[0\]"),
        (
            OBSERVATIONS,
            b"",
            r"has no push_again rpc_ping, which run.json tells of; .*; and 3\d more: one of the two",
        ),
        (OBSERVATIONS, OBSERVED[:40], "which run.json tells of"),
        (
            OBSERVATIONS,
            OBSERVED + b"\n" + OBSERVED + b"\n",
            "has .* of block 1 2 times; .*bring back what the run",
        ),
        (OBSERVATIONS, OBSERVED[:40] + b"\n", "holds something else"),
        (OBSERVATIONS, OBSERVED.replace(b'"ok"', b'"fine"') + b"\n", r"holds something else: .*\$.status"),
        (OBSERVATIONS, DAMAGED, "holds damaged observations: the parts of the stored histogram"),
    ],
)
def test_what_is_no_run_is_named_and_left_alone(folder, tmp_path, name, data, message):
    broken = copied(folder, tmp_path / "run", name, data)
    before = contents(broken)
    with pytest.raises(ConfigError, match=message) as raised:
        results.load(broken)
    assert str(broken / name) in str(raised.value)
    assert contents(broken) == before


@pytest.mark.parametrize("name", ["nowhere", "run/run.json"])
def test_what_is_no_folder_is_not_made(folder, name):
    path = folder.parent / name
    with pytest.raises(ConfigError, match="is no folder: name the folder of a run"):
        results.load(path)
    assert path.exists() == (name != "nowhere")


def test_the_examples_of_the_documentation_work(folder):
    text = (Path(__file__).parents[3] / "docs" / "notebooks.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 4
    names: dict[str, Any] = {}
    exec("\n".join(code).replace("results/RUN", str(folder)), names)
    assert (names["ratio"] < 0.01).all()
    assert len(names["ratio"]) == 5
    assert names["share"].iloc[-1] == 1.0
