from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from harness.records.schema import Observation, RunRecord
from harness.records.summary import summarise
from harness.run.asked import Asked
from harness.run.plan import ArmRun, plan
from harness.run.resumption import difference, obstacles, spot, spots, unfinished
from harness.suite import Arm, Suite, WorkloadSpec
from tests.fakes.results import bare_run

MACHINE = {"cpu_model": "Fast @ 2 GHz", "cores_usable": 2, "architecture": "x86_64", "python": "3.11.7"}
CALM = {"load": [0.1], "stall_share": {"cpu": 0.0}, "cpu_ticks": None}
HERE: dict[str, Any] = {
    **MACHINE,
    "before": CALM,
    "after": CALM,
    "commit": "0a1b2c3d4e",
    "dirty": False,
    "packages": {"numpy": "2.0"},
}
PING = WorkloadSpec("ping", "rpc_ping", {"clients": 1})
IDLE = WorkloadSpec("idle", "idle_federation", {"clients": 2})
ARMS = {
    name: Arm(
        name,
        name,
        "memory",
        "asyncio",
        {"poll_interval_s": 1.0} if name == "polling" else {},
        ("ping", "idle"),
    )
    for name in ("push", "polling")
}
SUITE = Suite("small", "Small", 2, "arm", ARMS, {"ping": PING, "idle": IDLE}, ())
ASKED = Asked(suite=SUITE, seed=3)
RUNS = plan(SUITE, 3)


def made(run: ArmRun, *names: str) -> list[Observation]:
    return [
        Observation(
            block=run.block, order=run.order, arm=run.arm.name, stack=run.arm.stack, loop="asyncio",
            mode="memory", workload=w.name, kind=w.kind, params={**w.params, **run.arm.settings}, status="ok",
        )
        for w in run.workloads
        if w.name in names
    ]  # fmt: skip


def record(**more: Any) -> RunRecord:
    values = {"suite": "small", "seed": 3, "blocks_planned": 2, "environment": HERE, "ended": "interrupted"}
    return changed(bare_run(), **(values | more))


def told(
    asked: Asked = ASKED, observations: tuple[Observation, ...] = (), now: Any = HERE, **more: Any
) -> str:
    return "; ".join(problem.message for problem in obstacles(asked, "d1", record(**more), observations, now))


def test_a_worker_that_lacks_an_observation_runs_again_as_a_whole() -> None:
    whole, half, *rest = RUNS
    observations = [*made(whole, "ping", "idle"), *made(half, "idle")]
    assert unfinished(RUNS, observations) == [half, *rest]
    assert unfinished(RUNS, []) == RUNS
    assert {spot(o) for o in made(half, "ping", "idle")} == spots(half)


def test_a_failed_cell_is_measured_and_stays() -> None:
    whole = [changed(o, status="timeout") for run in RUNS for o in made(run, "ping", "idle")]
    assert unfinished(RUNS, whole) == []


def test_a_broken_run_can_be_continued_where_it_was_measured() -> None:
    assert told() == ""
    assert told(observations=tuple(made(RUNS[0], "ping"))) == ""
    assert told(ended="budget") == ""


def test_a_run_that_is_whole_but_was_not_reported_can_be_finished() -> None:
    everything = tuple(o for run in RUNS for o in made(run, "ping", "idle"))
    assert told(observations=everything) == ""
    assert told(observations=everything, ended="complete") == "is complete: there is nothing to resume"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (
            {"cores_usable": 4},
            "was measured on Fast @ 2 GHz, 2 cores, x86_64, Python 3.11; this is Fast @ 2 GHz, 4 cores",
        ),
        (
            {"cpu_model": "Fast @ 3 GHz"},
            "this is Fast @ 3 GHz, 2 cores, x86_64, Python 3.11: resume it there",
        ),
        ({"cpu_quota_cores": 0.5}, "this is Fast @ 2 GHz, 2 cores, quota 0.5, x86_64, Python 3.11"),
        ({"python": "3.12.1"}, "this is Fast @ 2 GHz, 2 cores, x86_64, Python 3.12: resume it there"),
        ({"commit": "f" * 40}, "measured the commit 0a1b2c3; this is fffffff: check that one out"),
        ({"commit": None}, "this is unknown: check that one out"),
        ({"dirty": True}, "had no uncommitted changes and has some now"),
        ({"packages": {"numpy": "2.1"}}, "other versions of its packages"),
    ],
)
def test_what_is_another_machine_or_other_code_is_refused(now: dict[str, Any], message: str) -> None:
    assert message in told(now=HERE | now)


def test_a_patch_of_python_makes_no_other_machine() -> None:
    assert told(now=HERE | {"python": "3.11.9"}) == ""


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (Asked(suite=SUITE, seed=4), {}),
        (Asked(suite=replace(SUITE, blocks=3), seed=3), {}),
        (ASKED, {"suite": "other"}),
    ],
)
def test_two_files_that_contradict_each_other_are_refused(asked: Asked, more: dict[str, Any]) -> None:
    assert "suite.json and run.json tell of different suites" in told(asked, **more)


def test_a_metric_that_there_is_not_is_refused() -> None:
    (observation,) = made(RUNS[0], "ping")
    edited = changed(observation, metrics={"latency_p50_s": 1.0, "bogus_s": 1.0})
    assert (
        told(observations=(edited,)) == "observations.jsonl has 'bogus_s', which is no metric: it was edited"
    )


def test_observations_that_were_added_or_cut_are_refused() -> None:
    (observation,) = made(RUNS[0], "ping")
    told_of = "observations.jsonl has {} ping of block 1 2 times: one of the two was cut or edited"
    assert told_of.format(observation.arm) in told(observations=(observation, observation))
    assert "which run.json tells of" in told(cells=summarise([observation]))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"before": None}, "Expected `object`, got `null` - at `$.before`"),
        ({"after": {"load": "high", "stall_share": {}}}, "at `$.after.load`"),
        ({"sittings": 3}, "at `$.sittings`"),
    ],
)
def test_an_environment_that_no_run_writes_is_refused(edit: dict[str, Any], why: str) -> None:
    message = told(environment=HERE | edit)
    assert message.startswith("run.json was edited: of the machine's pressure around the run, ")
    assert why in message
    without = {key: value for key, value in HERE.items() if key != "before"}
    assert "missing required field `before`" in told(environment=without)


def test_a_suite_that_was_edited_is_refused_whatever_was_edited() -> None:
    assert told(asked_sha256="d1") == ""
    assert told(asked_sha256="") == ""  # a run of an earlier version
    message = "suite.json was changed since the run began: bring it back, or start a new run"
    assert told(asked_sha256="d2") == message


@pytest.mark.parametrize(
    "edit",
    [
        lambda o: changed(o, params={"clients": 9}),
        lambda o: changed(o, workload="other"),
        lambda o: changed(o, arm="other"),
        lambda o: changed(o, block=3),
    ],
)
def test_a_suite_that_did_not_make_these_observations_is_refused(
    edit: Callable[[Observation], Observation],
) -> None:
    (observation,) = made(RUNS[0], "ping")
    assert "as measured in block" in told(observations=(edit(observation),))


def test_suites_differ_in_what_is_measured_not_in_how_long_it_may_take() -> None:
    assert difference(SUITE, SUITE) == ""
    assert difference(SUITE, replace(SUITE.limit(3.0), budget_s=5.0)) == ""
    assert difference(SUITE, replace(SUITE, blocks=3)) == "blocks"
    assert difference(SUITE, replace(SUITE, tree="cell")) == "tree"
    assert difference(SUITE, replace(SUITE, workloads={"ping": PING})) == "workload idle"
    assert difference(replace(SUITE, arms={"push": ARMS["push"]}), SUITE) == "arm polling"
    assert difference(
        SUITE, replace(SUITE, workloads={"ping": replace(PING, params={"clients": 2}), "idle": IDLE})
    ) == ("workload ping")
