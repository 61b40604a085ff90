import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from harness.records import environment
from harness.records.cgroup import Quota
from harness.records.environment import (
    PACKAGES,
    RESOURCES,
    fingerprint,
    machine_class,
    pressure,
    short_commit,
)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_this_machine_is_known() -> None:
    found = fingerprint()
    assert found["cores"] == os.cpu_count()
    assert 1 <= found["cores_usable"] <= found["cores"]
    assert found["memory_bytes"] > 1 << 28
    assert found["kernel"] == platform.release()
    assert found["python"] == platform.python_version()
    assert found["cpu_model"]
    assert found["packages"].keys() == set(PACKAGES)
    assert found["packages"]["numpy"]
    assert found["packages"]["aiohttp"]  # network mode
    assert "grpcio" in found["packages"]  # what it is compared with
    assert json.loads(json.dumps(found)) == found


def test_a_checkout_is_known_by_its_commit_and_whether_it_has_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("first")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    clean = fingerprint(tmp_path)
    assert (clean["commit"], clean["dirty"]) == (commit, False)
    assert short_commit(tmp_path) == commit[:7]
    (tmp_path / "file").write_text("second")
    assert fingerprint(tmp_path)["dirty"] is True


def test_outside_of_a_checkout_neither_is_known(tmp_path: Path) -> None:
    found = fingerprint(tmp_path)
    assert (found["commit"], found["dirty"]) == (None, None)
    assert short_commit(tmp_path) == "nogit"


def test_a_damaged_checkout_is_as_none(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert fingerprint(tmp_path)["commit"] is None
    assert short_commit(tmp_path) == "nogit"


def test_without_git_a_checkout_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert fingerprint()["commit"] is None


def test_a_package_that_is_not_installed_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    packages = fingerprint()["packages"]
    assert packages["numpy"]
    assert packages["no-such-package"] is None


def test_the_load_is_three_averages_and_a_share_of_stalls_a_resource() -> None:
    found = pressure()
    assert len(found["load"]) == 3
    assert all(load >= 0 for load in found["load"])
    assert 0 <= found["cpu_ticks"]["steal"] <= found["cpu_ticks"]["all"]
    assert found["stall_share"].keys() == set(RESOURCES)
    for resource, share in found["stall_share"].items():
        if Path("/proc/pressure", resource).exists():
            assert 0 <= share <= 1
        else:
            assert share is None


KNOWN = {"cpu_model": "Some CPU @ 2.60GHz", "cores_usable": 2, "architecture": "x86_64", "python": "3.11.2"}


def test_a_class_of_machines_has_model_with_clock_cores_architecture_and_python() -> None:
    assert machine_class(KNOWN) == "Some CPU @ 2.60GHz, 2 cores, x86_64, Python 3.11"
    assert machine_class({**KNOWN, "cpu_model": "Some CPU @ 2.00GHz"}) != machine_class(KNOWN)
    assert machine_class({}) == "unknown CPU, None cores, None, Python ?"


@pytest.mark.parametrize(
    ("quota", "told"),
    [
        ({"cpu_quota_cores": 0.5}, ", quota 0.5"),
        ({"cpu_quota_cores": 0.333}, ", quota 0.33"),
        ({"cpu_quota_cores": 2.0}, ""),
        ({"cpu_quota_cores": 8.0}, ""),
        ({"cpu_quota_cores": None, "cgroup_cpu_max": "max"}, ""),
        ({"cgroup_cpu_max": "50000 100000"}, ", quota 0.5"),  # as older runs kept it
        ({"cgroup_cpu_max": "max 100000"}, ""),
    ],
)
def test_a_quota_below_the_cores_makes_another_class(quota: dict[str, object], told: str) -> None:
    assert machine_class({**KNOWN, **quota}) == f"Some CPU @ 2.60GHz, 2 cores{told}, x86_64, Python 3.11"


def test_the_quota_of_the_own_group_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    quota = Quota(1 / 3, "33333 100000", Path("/somewhere"))
    monkeypatch.setattr(environment, "groups_of", lambda pid, controller: [quota.group])
    monkeypatch.setattr(environment, "narrowest_quota", lambda groups: quota if groups else None)
    found = fingerprint()
    assert (found["cpu_quota_cores"], found["cgroup_cpu_max"]) == (0.333, "33333 100000")
    monkeypatch.setattr(environment, "narrowest_quota", lambda groups: None)
    found = fingerprint()
    assert (found["cpu_quota_cores"], found["cgroup_cpu_max"], found["cgroup_memory_max"]) == (
        None,
        "max",
        "max",
    )
    monkeypatch.setattr(environment, "groups_of", lambda pid, controller: [])
    found = fingerprint()
    assert (found["cgroup_cpu_max"], found["cgroup_memory_max"]) == (None, None)


def test_the_kept_baseline_is_of_the_class_that_it_was_made_on() -> None:
    record = json.loads((environment.ROOT / "results/baselines/main/run.json").read_text())
    found = machine_class(record["environment"])
    assert found.startswith(f"{record['environment']['cpu_model']}, ")
