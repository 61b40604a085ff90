"""A control group counts what its processes use, and is gone with them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.probes import accounting
from harness.probes.accounting import CpuAccount

BURN = "import time\ninput()\nwhile time.process_time() < 0.2: pass\nprint('burnt', flush=True)\ninput()"


@pytest.fixture(params=[True, False], ids=["v2", "v1"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[CpuAccount]:
    places = [place for place in accounting._places() if place.unified is request.param]
    monkeypatch.setattr(accounting, "_places", lambda: iter(places))
    opened = CpuAccount.open()
    if opened is None:
        pytest.skip("this user may not make such a control group here")
    yield opened
    opened.close()


def test_who_has_ended_stays_in_the_count(account: CpuAccount) -> None:
    assert account.used_ns() == 0
    command = [sys.executable, "-S", "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert account.add(child.pid)
        child.communicate(b"\n\n")
    assert account.used_ns() >= 0.19e9
    account.close()
    assert not account._directory.exists()
    account.close()


def test_a_group_with_somebody_in_it_stays_until_the_next_sweep(
    account: CpuAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "REMOVED_WITHIN_S", 0.0)
    with subprocess.Popen(["sleep", "60"]) as child:
        assert account.add(child.pid)
        account.close()
        assert account._directory.exists()
        child.kill()
    end_s = time.monotonic() + 5
    while account._directory.exists() and time.monotonic() < end_s:
        account.close()
    assert not account._directory.exists()


def test_groups_of_the_dead_are_swept_and_those_of_the_living_are_not(account: CpuAccount) -> None:
    folder = account._directory.parent
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead = folder / f"{accounting.PREFIX}{gone.pid}-0"
    dead.mkdir()
    other = CpuAccount.open()
    assert other is not None
    try:
        assert not dead.exists()
        assert account._directory.exists()
    finally:
        other.close()


def test_where_no_group_can_be_made_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not [*tmp_path.iterdir()]
    place = accounting._Place(tmp_path, unified=True)  # no control groups here: nothing counts in it
    monkeypatch.setattr(accounting, "_places", lambda: iter([place]))
    assert CpuAccount.open() is None
    assert not [*tmp_path.iterdir()]
    assert not CpuAccount(tmp_path / "none", unified=True).add(os.getpid())


V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"
SPLIT = "32 31 0:29 / /c/cpuacct rw,relatime - cgroup cgroup rw,cpuacct"
SHARED = "33 31 0:30 / /c/cpu\\040both rw,relatime - cgroup cgroup rw,cpu,cpuacct"
INNER = "34 31 0:30 /docker/a /c rw shared:9 - cgroup cgroup rw,cpuacct"


@pytest.mark.parametrize(
    ("mounts", "groups", "places"),
    [
        ([V2], "0::/user.slice/x", [("/sys/fs/cgroup/user.slice/x", True)]),
        ([SPLIT, V2], "2:cpuacct:/a\n0::/", [("/sys/fs/cgroup", True), ("/c/cpuacct/a", False)]),
        ([SHARED], "2:cpu,cpuacct:/a", []),
        ([INNER], "2:cpuacct:/docker/a/b", [("/c/b", False)]),
        ([INNER], "2:cpuacct:/elsewhere", []),
        ([SPLIT], "0::/", []),
    ],
)
def test_groups_are_made_below_that_of_this_process(
    monkeypatch: pytest.MonkeyPatch, mounts: list[str], groups: str, places: list[tuple[str, bool]]
) -> None:
    texts = {"/proc/self/mountinfo": "\n".join(mounts), "/proc/self/cgroup": groups}
    monkeypatch.setattr(Path, "read_text", lambda path: texts[str(path)])
    assert [(str(place.directory), place.unified) for place in accounting._places()] == places
