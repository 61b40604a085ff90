from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedbench.errors import ConfigError
from harness.run.plan import plan
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

Edit = Callable[[dict[str, Any]], object]


def swept() -> dict[str, Any]:
    return {
        "budget_s": 90,
        "workloads": {
            "payload": {
                "workload": "rpc_ping",
                "clients": 2,
                "blocks": 2,
                "timeout_s": 7.5,
                "sweep": {"payload_bytes": [64, 1024]},
            },
            "idle": {"workload": "idle_federation"},
        },
        "arms": {"push": {"workloads": ["idle", "payload"]}, "polling": {}},
        "criteria": [
            {"id": "a", "kind": "limit", "workload": "payload@64", "metric": "cpu_cores", "arm": "push",
             "target": 1}
        ],
    }  # fmt: skip


def read(tmp_path: Path, data: object) -> Suite:
    path = tmp_path / "swept.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load_suite(str(path), catalogue(), stack_names())


def test_a_sweep_makes_a_workload_for_each_value(tmp_path: Path) -> None:
    suite = read(tmp_path, swept())
    assert list(suite.workloads) == ["payload@64", "payload@1024", "idle"]
    point = suite.workloads["payload@1024"]
    assert (point.kind, point.params["payload_bytes"], point.params["clients"]) == ("rpc_ping", 1024, 2)
    assert (point.blocks, point.timeout_s, point.swept, point.base) == (2, 7.5, ("payload_bytes",), "payload")
    assert (suite.budget_s, suite.workloads["idle"].timeout_s, suite.workloads["idle"].base) == (
        90,
        None,
        "idle",
    )


def test_an_arm_that_names_the_sweep_runs_all_of_its_points(tmp_path: Path) -> None:
    suite = read(tmp_path, swept())
    assert suite.arms["push"].workloads == ("idle", "payload@64", "payload@1024")
    assert suite.arms["polling"].workloads == ("payload@64", "payload@1024", "idle")
    (run, *_) = plan(suite.select("push/payload@10"), 0)
    assert [w.name for w in run.workloads] == ["payload@1024"]


def test_an_arm_may_name_single_points(tmp_path: Path) -> None:
    data = swept()
    data["arms"]["push"]["workloads"] = ["payload@64"]
    assert read(tmp_path, data).arms["push"].workloads == ("payload@64",)


def test_a_parameter_of_all_points_is_overridden_by_the_name_of_the_sweep(tmp_path: Path) -> None:
    suite = read(tmp_path, swept()).override(["payload.clients=5"])
    assert {w.params["clients"] for w in suite.workloads.values() if w.swept} == {5}
    one = suite.override(["payload@64.clients=6"])
    assert [one.workloads[f"payload@{n}"].params["clients"] for n in (64, 1024)] == [6, 5]


@pytest.mark.parametrize("where", ["payload.", "payload@64.", ""])
def test_what_is_swept_is_not_overridden(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError, match="payload_bytes is swept; select the points with -k"):
        read(tmp_path, swept()).override([f"{where}payload_bytes=8"])


def test_one_timeout_for_every_cell(tmp_path: Path) -> None:
    suite = read(tmp_path, swept()).limit(3.0)
    assert {w.timeout_s for w in suite.workloads.values()} == {3.0}


@pytest.mark.parametrize(
    ("edit", "path", "message"),
    [
        (lambda d: d["workloads"]["idle"].update(timeout_s=0), "workloads.idle.timeout_s", "out of range"),
        (lambda d: d["workloads"]["idle"].update(timeout_s="1m"), "workloads.idle.timeout_s", "a number"),
        (lambda d: d.update(budget_s=-1), "budget_s", "out of range"),
        (
            lambda d: d["workloads"]["payload"]["sweep"].update(payload_bytes=[64, 64]),
            "workloads.payload.sweep.payload_bytes[1]",
            "64 stands there before",
        ),
        (
            lambda d: d["workloads"]["payload"].update(sweep={"floor": ["../up"]}),
            "workloads.payload",
            "'payload@../up' is no name: use letters",
        ),
        (
            lambda d: d["workloads"].update({"payload@64": {"workload": "rpc_ping"}}),
            "workloads.payload@64",
            "there are two workloads 'payload@64'",
        ),
        (
            lambda d: d["criteria"][0].update(workload="payload"),
            "criteria[0].workload",
            "unknown workload 'payload'; it is swept: name one of payload@64, payload@1024",
        ),
        (
            lambda d: d["arms"]["push"].update(workloads=["payload", "payload@64"]),
            "arms.push.workloads",
            "'payload@64' stands there 2 times",
        ),
        (lambda d: d["arms"].update({"../x": {"stack": "push"}}), "arms.../x", "'../x' is no name"),
        (lambda d: d["workloads"].update({"-k": {"workload": "floor"}}), "workloads.-k", "'-k' is no name"),
        (lambda d: d["workloads"].update({"a\nb": {"workload": "floor"}}), "workloads.a\nb", "is no name"),
        (lambda d: d.update(suite=".."), "suite", "'..' is no name"),
    ],
)  # fmt: skip
def test_an_error_is_named_with_its_path(tmp_path: Path, edit: Edit, path: str, message: str) -> None:
    data = swept()
    edit(data)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, data)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert message in found.get(path, f"not among {found}")


def test_a_suite_of_the_harness_is_not_found_by_a_path_that_leads_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no suite"):
        load_suite("../suites/quick", catalogue(), stack_names())
