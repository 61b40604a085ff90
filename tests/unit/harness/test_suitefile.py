from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedbench.errors import ConfigError
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import catalogue

SMALL: dict[str, Any] = {
    "title": "Small",
    "blocks": 3,
    "tree": "cell",
    "workloads": {
        "rpc_ping": {"clients": 4},
        "short_idle": {"workload": "idle_federation", "idle_s": 1, "blocks": 2},
    },
    "arms": {
        "push": {"loop": "asyncio", "workloads": ["rpc_ping"]},
        "again": {"stack": "push", "control_of": "push", "blocks": 1},
        "polling": {"settings": {"warn_on_timeout": False}},
    },
    "sweep": {"base": "polling", "values": [0.001, 2], "workloads": ["short_idle"], "blocks": 1},
    "criteria": [
        {
            "id": "a",
            "kind": "limit",
            "workload": "rpc_ping",
            "metric": "cpu_cores",
            "arm": "push",
            "target": 1,
        },
        {"id": "b", "kind": "equal", "workload": "rpc_ping", "metric": "model_digest"},
    ],
}

Edit = Callable[[dict[str, Any]], object]


def read(tmp_path: Path, data: object) -> Suite:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load_suite(str(path), catalogue(), stack_names())


def problems(tmp_path: Path, data: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, data)
    assert caught.value.source == str(tmp_path / "small.yaml")
    return {problem.path: problem.message for problem in caught.value.problems}


def small() -> dict[str, Any]:
    copied: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL, sort_keys=False))
    return copied


# the suites that come with the harness


def test_the_shipped_suites_are_package_data() -> None:
    shipped = {entry.name for entry in files("harness").joinpath("suites").iterdir()}
    assert shipped == {f"{name}.yaml" for name in suite_names()}
    assert suite_names() == [
        "acceptance",
        "budgets",
        "check",
        "matrix",
        "overhead",
        "quick",
        "smoke",
        "sweeps",
    ]


@pytest.mark.parametrize(
    ("name", "stacks"),
    [
        ("acceptance", {"push", "polling"}),
        ("quick", {"push", "polling"}),
        ("budgets", {"push", "floors", "grpc_aio"}),
        ("smoke", {"push", "polling", "floors"}),
    ],
)
def test_a_shipped_suite_fits_the_workloads_stacks_and_metrics_there_are(name: str, stacks: set[str]) -> None:
    suite = load_suite(name, catalogue(), stack_names())
    assert suite.name == name
    assert suite.criteria
    assert {arm.stack for arm in suite.arms.values()} == stacks
    ran = {workload for arm in suite.arms.values() for workload in arm.workloads}
    assert ran == set(suite.workloads)  # none stands there for nothing


# a suite of one's own


def test_a_suite_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    suite = read(tmp_path, SMALL)
    assert (suite.name, suite.title, suite.modes, suite.blocks, suite.tree) == (
        "small",
        "Small",
        "memory",
        3,
        "cell",
    )
    ping, idle = suite.workloads.values()
    assert (ping.kind, ping.blocks) == ("rpc_ping", None)
    assert ping.params == {**catalogue()["rpc_ping"], "clients": 4}
    assert (idle.name, idle.kind, idle.blocks) == ("short_idle", "idle_federation", 2)
    assert type(idle.params["idle_s"]) is float
    push, again, polling = list(suite.arms.values())[:3]
    assert (push.stack, push.loop, push.workloads) == ("push", "asyncio", ("rpc_ping",))
    assert (again.stack, again.control_of, again.blocks) == ("push", "push", 1)
    assert (polling.loop, polling.workloads) == ("auto", ("rpc_ping", "short_idle"))
    assert suite.criteria[0].target == 1.0


def test_a_file_needs_no_suffix_of_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("{workloads: {rpc_ping: }, arms: {push: }}")
    suite = load_suite(str(path), catalogue(), stack_names())
    assert (suite.name, suite.title, suite.blocks, suite.tree) == ("mine", "mine", 5, "arm")
    assert suite.criteria == ()
    assert suite.arms["push"].workloads == ("rpc_ping",)


def test_a_sweep_is_one_arm_a_value(tmp_path: Path) -> None:
    suite = read(tmp_path, SMALL)
    swept = list(suite.arms.values())[3:]
    assert [arm.name for arm in swept] == ["polling@0.001", "polling@2"]
    assert [arm.sweep_value for arm in swept] == [0.001, 2.0]
    assert [arm.settings for arm in swept] == [
        {"warn_on_timeout": False, "poll_interval_s": 0.001},
        {"warn_on_timeout": False, "poll_interval_s": 2},
    ]
    assert {(arm.stack, arm.workloads, arm.blocks, arm.control_of) for arm in swept} == {
        ("polling", ("short_idle",), 1, "")
    }


def test_a_sweep_may_be_of_another_setting_and_runs_what_its_base_runs(tmp_path: Path) -> None:
    data = small()
    data["sweep"] = {"base": "polling", "setting": "receive_timeout_s", "values": [0.5]}
    arm = read(tmp_path, data).arms["polling@0.5"]
    assert (arm.settings["receive_timeout_s"], arm.blocks) == (0.5, None)
    assert arm.workloads == ("rpc_ping", "short_idle")


# what is wrong is named with its path


@pytest.mark.parametrize(
    ("edit", "path", "message"),
    [
        (lambda d: d.update(block=2), "block", "unknown key; did you mean 'blocks'?"),
        (lambda d: d.update(suite="a/b"), "suite", "'a/b' is no name: use letters, digits"),
        (lambda d: d.update(mode="memry"), "mode", "unknown value 'memry'; did you mean 'memory'?"),
        (lambda d: d.update(tree="forest"), "tree", "unknown value 'forest'; known: arm, cell"),
        (lambda d: d.update(blocks=0), "blocks", "0 is below 1"),
        (lambda d: d.update(blocks="many"), "blocks", "expected a whole number, found text ('many')"),
        (lambda d: d.update(title=5), "title", "expected a text, found a number (5)"),
        (lambda d: d.update(criteria={}), "criteria", "expected a list"),
        (lambda d: d.update(arms=[]), "arms", "at least one arm is needed"),
        (lambda d: d.update(workloads=None), "workloads", "at least one workload is needed"),
        (
            lambda d: d["workloads"].update(rpc_pings={}),
            "workloads.rpc_pings",
            "unknown workload 'rpc_pings'; did you mean 'rpc_ping'?",
        ),
        (
            lambda d: d["workloads"]["short_idle"].update(workload="idle"),
            "workloads.short_idle.workload",
            "unknown workload 'idle'",
        ),
        (
            lambda d: d["workloads"]["rpc_ping"].update(client=3),
            "workloads.rpc_ping.client",
            "unknown key; did you mean 'clients'?",
        ),
        (
            lambda d: d["workloads"]["rpc_ping"].update(clients=1.5),
            "workloads.rpc_ping.clients",
            "expected a whole number",
        ),
        (
            lambda d: d["workloads"]["rpc_ping"].update(duration_s=0),
            "workloads.rpc_ping.duration_s",
            "0 is out of range",
        ),
        (
            lambda d: d["workloads"].update(floor={"operation": 3}),
            "workloads.floor.operation",
            "expected a text",
        ),
        (
            lambda d: d["arms"].update(pusch={"loop": "asyncio"}),
            "arms.pusch.stack",
            "is missing, and 'pusch' is none; did you mean 'push'?",
        ),
        (
            lambda d: d["arms"]["again"].update(stack="poling"),
            "arms.again.stack",
            "unknown value 'poling'; did you mean 'polling'?",
        ),
        (
            lambda d: d["arms"]["push"].update(workloads=["rpc_ping", "rpc_pong"]),
            "arms.push.workloads",
            "unknown workload 'rpc_pong'; did you mean 'rpc_ping'?",
        ),
        (
            lambda d: d["arms"]["push"].update(workloads=["rpc_ping", "rpc_ping"]),
            "arms.push.workloads",
            "'rpc_ping' stands there 2 times",
        ),
        (
            lambda d: d["arms"]["push"].update(workloads="rpc_ping"),
            "arms.push.workloads",
            "expected a list of texts",
        ),
        (
            lambda d: d["arms"]["again"].update(control_of="pusch"),
            "arms.again.control_of",
            "no arm 'pusch' stands before this one; did you mean 'push'?",
        ),
        (lambda d: d["arms"]["push"].update(loop="uvlop"), "arms.push.loop", "did you mean 'uvloop'?"),
        (lambda d: d["arms"]["push"].update(settings=3), "arms.push.settings", "expected a mapping"),
        (lambda d: d["arms"].update(push=7), "arms.push", "expected a mapping, found a number (7)"),
        (lambda d: d["sweep"].pop("base"), "sweep.base", "is missing; known: again, polling, push"),
        (
            lambda d: d["sweep"].update(base="poling"),
            "sweep.base",
            "no arm 'poling'; did you mean 'polling'?",
        ),
        (lambda d: d["sweep"].pop("values"), "sweep.values", "expected a list of numbers above 0"),
        (lambda d: d["sweep"].update(values=[]), "sweep.values", "expected a list of numbers above 0"),
        (lambda d: d["sweep"].update(values=[0]), "sweep.values", "expected a list of numbers above 0"),
        (lambda d: d["sweep"].update(values=[True]), "sweep.values", "expected a list of numbers above 0"),
        (lambda d: d["sweep"].update(values=[float("inf")]), "sweep.values", "numbers above 0"),
        (lambda d: d["sweep"].update(values=0.5), "sweep.values", "expected a list of numbers above 0"),
        (lambda d: d["sweep"].update(values=[1, 1.0]), "sweep.values", "there are two arms 'polling@1'"),
        (lambda d: d["sweep"].update(workloads=["idle"]), "sweep.workloads", "unknown workload 'idle'"),
        (lambda d: d["sweep"].update(step=3), "sweep.step", "unknown key"),
        (lambda d: d["criteria"][1].pop("id"), "criteria[1].id", "is missing"),
        (
            lambda d: d["criteria"][1].update(id="a"),
            "criteria[1].id",
            "'a' is the id of an earlier criterion",
        ),
        (lambda d: d["criteria"][0].update(id="a$b"), "criteria[0].id", "'a$b' is no name: use letters"),
        (
            lambda d: d["criteria"][0].pop("kind"),
            "criteria[0].kind",
            "is missing: use one of reduction, limit",
        ),
        (
            lambda d: d["criteria"][0].update(kind="limits"),
            "criteria[0].kind",
            "unknown value 'limits'; did you mean 'limit'?",
        ),
        (lambda d: d["criteria"][0].pop("target"), "criteria[0].target", "is missing"),
        (lambda d: d["criteria"][0].update(target="1 ms"), "criteria[0].target", "expected a number"),
        (lambda d: d["criteria"][0].update(unit="s"), "criteria[0].unit", "unknown key"),
        (
            lambda d: d["criteria"][0].update(metric="cpu_core"),
            "criteria[0].metric",
            "unknown metric 'cpu_core'; did you mean 'cpu_cores'?",
        ),
        (
            lambda d: d["criteria"][1].update(metric="cpu_cores"),
            "criteria[1].metric",
            "unknown metric 'cpu_cores'; known: model_digest",
        ),
        (lambda d: d["criteria"][0].pop("metric"), "criteria[0].metric", "is missing"),
        (
            lambda d: d["criteria"][0].update(arm="pushh"),
            "criteria[0].arm",
            "unknown arm 'pushh'; did you mean 'push'?",
        ),
        (lambda d: d["criteria"][0].pop("arm"), "criteria[0].arm", "is missing"),
        (
            lambda d: d["criteria"][0].update(workload="rpc_pin"),
            "criteria[0].workload",
            "unknown workload 'rpc_pin'; did you mean 'rpc_ping'?",
        ),
        (lambda d: d["criteria"][0].update(kind="ratio"), "criteria[0].against", "is missing"),
        (
            lambda d: d["criteria"][0].update(kind="ratio", against="poll"),
            "criteria[0].against",
            "unknown against 'poll'",
        ),
        (
            lambda d: d["criteria"][0].update(kind="frontier", against="polling"),
            "criteria[0].workload2",
            "is missing",
        ),
        (
            lambda d: d["criteria"][0].update(kind="frontier", metric2="cpu"),
            "criteria[0].metric2",
            "unknown metric 'cpu'",
        ),
        (
            lambda d: d["criteria"][0].update(valid_if="fault_logs"),
            "criteria[0].valid_if",
            "unknown valid_if 'fault_logs'",
        ),
        (
            lambda d: d["criteria"][0].update(workload="short_idle"),
            "criteria[0]",
            "the arm 'push' does not run 'short_idle'",
        ),
        (lambda d: d.update(criteria=["a"]), "criteria[0]", "expected a mapping, found text ('a')"),
    ],
)
def test_an_error_is_named_with_its_path(tmp_path: Path, edit: Edit, path: str, message: str) -> None:
    data = small()
    edit(data)
    found = problems(tmp_path, data)
    assert message in found.get(path, f"not among {found}")


def test_all_errors_are_reported_together(tmp_path: Path) -> None:
    data = small()
    data["blocks"] = -1
    data["workloads"]["rpc_ping"]["clients"] = "x"
    data["arms"]["push"]["loop"] = "x"
    data["criteria"][0]["metric"] = "x"
    assert problems(tmp_path, data).keys() == {
        "blocks",
        "workloads.rpc_ping.clients",
        "arms.push.loop",
        "criteria[0].metric",
    }


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, data: object) -> None:
    assert problems(tmp_path, data)[""].startswith("expected a mapping, found")


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text("arms: [")
    with pytest.raises(ConfigError, match=r"broken\.yml: is not YAML"):
        load_suite(str(path), catalogue(), stack_names())


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no/such\.yaml: cannot be read: No such file"):
        load_suite("no/such.yaml", catalogue(), stack_names())


def test_a_misspelt_suite_gets_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quik: is no suite; did you mean 'quick'"):
        load_suite("quik", catalogue(), stack_names())
    known = "acceptance, budgets, check, matrix, overhead, quick, smoke, sweeps"
    with pytest.raises(ConfigError, match=f"is no suite; known: {known}"):
        load_suite(str(tmp_path), catalogue(), stack_names())


def test_parameters_of_every_type_are_read(tmp_path: Path) -> None:
    path = tmp_path / "typed.yaml"
    path.write_text("{workloads: {w: {flag: true, text: b}}, arms: {push: }}")
    kinds = {"w": {"flag": False, "text": "a", "count": 3, "size": 0.5}}
    suite = load_suite(str(path), kinds, ["push"])
    assert suite.workloads["w"].params == {"flag": True, "text": "b", "count": 3, "size": 0.5}
