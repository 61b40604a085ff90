from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from harness import invocation as invocation_module
from harness.invocation import Invocation, asked_for, resumed, told_before
from harness.records.cgroup import Quota
from harness.records.schema import Disturbance
from harness.run.asked import write_asked


def test_without_a_suite_it_is_the_quick_one() -> None:
    asked = asked_for(Invocation())
    assert (asked.suite.name, asked.suite.blocks, asked.seed) == ("quick", 24, 0)


def test_options_shape_the_suite() -> None:
    given = Invocation(
        "smoke", blocks=3, seed=7, select="push/rpc", assignments=("clients=2",), timeout_s=9.0
    )
    asked = asked_for(given)
    assert (asked.suite.blocks, asked.seed, list(asked.suite.arms)) == (3, 7, ["push"])
    ping = asked.suite.workloads["rpc_ping"]
    assert (ping.params["clients"], ping.timeout_s) == (2, 9.0)


@pytest.mark.parametrize(
    ("quick", "rigorous", "blocks"), [(True, False, 5), (False, True, 20), (False, False, 1)]
)
def test_presets_choose_the_blocks(quick: bool, rigorous: bool, blocks: int) -> None:
    assert asked_for(Invocation("smoke", quick, rigorous)).suite.blocks == blocks


def test_presets_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="--quick: contradicts --rigorous"):
        asked_for(Invocation("smoke", quick=True, rigorous=True))


GIVEN = Invocation("smoke", blocks=2, seed=4, select="push")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_asked(tmp_path, asked_for(GIVEN))
    return tmp_path


def test_a_run_is_resumed_with_what_it_was_asked_for(folder: Path) -> None:
    assert resumed(folder, Invocation()) == asked_for(GIVEN)


def test_the_command_of_a_run_may_be_given_once_more(folder: Path) -> None:
    assert resumed(folder, GIVEN) == asked_for(GIVEN)


def test_the_timeouts_of_a_resumed_run_may_be_others(folder: Path) -> None:
    asked = resumed(folder, Invocation(timeout_s=3.0))
    assert {w.timeout_s for w in asked.suite.workloads.values()} == {3.0}
    assert asked.suite.limit(None) == asked_for(GIVEN).suite


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Invocation("smoke", blocks=2, seed=5, select="push"), "another seed"),
        (Invocation("smoke", blocks=3, seed=4, select="push"), "another blocks"),
        (Invocation("smoke", blocks=2, seed=4), "another arm polling"),
        (
            Invocation("smoke", blocks=2, seed=4, select="push", assignments=("clients=9",)),
            "another workload",
        ),
        (Invocation("quick"), "the suite is not what was run"),
        (Invocation(seed=4), "--resume: goes on with the suite, seed and cells of the run"),
        (Invocation(select="push"), "leave options that choose others out"),
    ],
)
def test_what_was_not_run_is_refused(folder: Path, given: Invocation, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resumed(folder, given)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no suite.json: it is no run"):
        resumed(tmp_path, Invocation())
    with pytest.raises(ConfigError, match=r"--resume: .*nowhere is no folder: name the folder of a run"):
        resumed(tmp_path / "nowhere", Invocation())


@pytest.mark.parametrize(("quota", "warnings"), [(None, 0), (Quota(0.5, "50000 100000", Path("/group")), 1)])
def test_what_disturbs_already_is_told_before_a_run(
    monkeypatch: pytest.MonkeyPatch, quota: Quota | None, warnings: int
) -> None:
    monkeypatch.setattr(invocation_module, "usable_cores", lambda: frozenset({0, 1}))
    monkeypatch.setattr(invocation_module, "narrowest_quota", lambda groups: quota)
    monkeypatch.setattr(invocation_module, "watch", lambda: Disturbance(void=["it was stolen"]))
    told = told_before()
    assert told[0].startswith("before the run it was stolen. Cells that this disturbs are void")
    assert len(told) == 1 + warnings
    monkeypatch.setattr(invocation_module, "watch", Disturbance)
    assert len(told_before()) == warnings
