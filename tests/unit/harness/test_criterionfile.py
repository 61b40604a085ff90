from pathlib import Path
from typing import Any

import pytest
import yaml

from fedbench.errors import ConfigError
from harness.acceptance.criteria import Aside
from harness.suite import Suite
from harness.suitefile import load_suite

CATALOGUE = {"idle": {"clients": 10}, "round": {"model_bytes": 1024, "clients": 3}}
SUITE: dict[str, Any] = {
    "looks": [6, 10],
    "workloads": {"idle": {}, "round": {"sweep": {"model_bytes": [4096, 1048576, 16777216]}}},
    "arms": {
        "push": {"workloads": ["idle", "round"]},
        "polling": {"workloads": ["idle", "round"]},
        "milder": {"stack": "polling", "workloads": ["idle"]},
    },
}
CRITERION: dict[str, Any] = {
    "id": "memory", "kind": "reduction", "target": 0.5, "workload": "idle",
    "metric": "memory_peak_bytes", "arm": "push", "against": "polling",
}  # fmt: skip


def load(tmp_path: Path, criterion: dict[str, Any], **suite: Any) -> Suite:
    path = tmp_path / "made.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "criteria": [{**CRITERION, **criterion}], **suite}))
    return load_suite(str(path), CATALOGUE, ["push", "polling"])


def problems(tmp_path: Path, criterion: dict[str, Any], **suite: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, criterion, **suite)
    return str(caught.value)


def test_a_criterion_has_a_promise_a_note_and_what_stands_beside_it(tmp_path: Path) -> None:
    beside = [
        {"label": "without warnings", "against": "milder"},
        {"label": "CPU", "metric": "cpu_cores"},
    ]
    (c,) = load(tmp_path, {"promise": "memory", "note": "copies", "beside": beside}).criteria
    assert (c.promise, c.note) == ("memory", "copies")
    assert c.beside == (Aside("without warnings", against="milder"), Aside("CPU", metric="cpu_cores"))


@pytest.mark.parametrize("at", [1048576, "1048576"])
def test_a_criterion_along_a_sweep_is_decided_at_one_point_beside_all_others(tmp_path: Path, at: Any) -> None:
    (c,) = load(tmp_path, {"workload": "round", "along": "model_bytes", "at": at}).criteria
    assert c.workload == "round@1048576"
    assert c.beside == (
        Aside("at 4 KiB", workload="round@4096"),
        Aside("at 16 MiB", workload="round@16777216"),
    )


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({"promise": "speed"}, "criteria[0].promise"),
        ({"beside": [{"against": "milder"}]}, "criteria[0].beside[0].label: is missing"),
        ({"beside": [{"label": "same"}]}, "criteria[0].beside[0]: is the criterion itself"),
        ({"beside": [{"label": "x", "against": "mild"}]}, "unknown against 'mild'; did you mean 'milder'"),
        ({"beside": [{"label": "x", "workload": "idel"}]}, "unknown workload 'idel'"),
        ({"beside": [{"label": "x", "metric": "cpu_core"}]}, "unknown metric 'cpu_core'"),
        (
            {"beside": [{"label": "x", "against": "milder", "workload": "round@4096"}]},
            "'milder' does not run",
        ),
        ({"beside": [{"label": "x", "arms": "push"}]}, "beside[0].arms: unknown key"),
        ({"beside": "milder"}, "criteria[0].beside: expected a list"),
        ({"workload": "round", "along": "model_bytes"}, "criteria[0].at: is missing"),
        ({"at": "4096"}, "criteria[0].along: is missing"),
        ({"along": "model_bytes", "at": "4096"}, "criteria[0].along: 'idle' is not swept"),
        ({"workload": "round", "along": "clients", "at": "4096"}, "is swept by model_bytes"),
        (
            {"workload": "round", "along": "model_bytes", "at": "5"},
            "'5' is no point of 'round': use one of 4096, 1048576, 16777216",
        ),
        (
            {"kind": "at_most", "beside": [{"label": "x", "arm": "polling"}]},
            "has no meaning for at_most",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(
    tmp_path: Path, criterion: dict[str, Any], message: str
) -> None:
    assert message in problems(tmp_path, criterion)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ({"looks": [6, 10], "blocks": 5}, "blocks: stands beside looks: leave one of the two out"),
        ({"looks": [10, 6]}, "looks: expected increasing whole numbers"),
        ({"looks": [6, 6]}, "looks: expected increasing whole numbers"),
        ({"looks": []}, "looks: expected increasing whole numbers"),
        ({"looks": [True]}, "looks: expected increasing whole numbers"),
        ({"looks": [2, 30]}, "the first look, at 2 blocks, can decide nothing"),
        ({"time_s": -1}, "time_s"),
    ],
)
def test_looks_that_cannot_be_are_refused(tmp_path: Path, suite: dict[str, Any], message: str) -> None:
    assert message in problems(tmp_path, {}, **suite)


def test_looks_and_time_are_those_of_the_suite(tmp_path: Path) -> None:
    suite = load(tmp_path, {}, time_s=200)
    assert (suite.looks, suite.blocks, suite.first_look, suite.time_s) == ((6, 10), 10, 6, 200.0)
    assert suite.most_blocks == 16  # six fresh blocks may confirm a fail
    assert suite.looks_of(suite.criteria[0]) == (6, 10)


def test_a_suite_of_blocks_has_one_look(tmp_path: Path) -> None:
    path = tmp_path / "blocks.yaml"
    few = {"idle": {"blocks": 2}, "round": {"blocks": 7}}
    exact = {**CRITERION, "id": "count", "kind": "at_least", "metric": "clients"}
    del exact["against"]
    long = {**CRITERION, "id": "long", "workload": "round"}
    data = {**SUITE, "blocks": 20, "workloads": few, "criteria": [CRITERION, exact, long]}
    del data["looks"]
    path.write_text(yaml.safe_dump(data))
    suite = load_suite(str(path), CATALOGUE, ["push", "polling"])
    assert (suite.looks, suite.blocks, suite.first_look) == ((), 20, 20)
    # As early as its cells allow, but never before five blocks could decide anything.
    assert [suite.looks_of(c) for c in suite.criteria] == [(5,), (2,), (7,)]
