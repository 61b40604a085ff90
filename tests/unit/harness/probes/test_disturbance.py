"""The probe on real processes of this machine, which others may use too."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.probes import disturbance
from harness.probes.cpu import cpu_ns
from harness.probes.cpustat import CpuTimes
from harness.probes.disturbance import DisturbanceProbe, run_delays, watch
from harness.probes.neighbours import Process, Snapshot
from harness.records.disturbance import Counted, disturbance_of

RESTING = "print(flush=True)\nimport time\ntime.sleep(60)"
SPINNING = "print(flush=True)\nwhile True: pass"
FORKING = """
import subprocess, sys
print(flush=True)
sys.stdin.readline()
subprocess.run([sys.executable, "-S", "-c", "import time\\nwhile time.process_time() < 0.2: pass"])
print(flush=True)
sys.stdin.readline()
"""
ENOUGH_S = 0.2
"""CPU time after which a process is seen without doubt, whatever the ticks."""


def spent(pid: int) -> float:
    used_ns = cpu_ns(pid)
    assert used_ns is not None
    return used_ns / 1e9


def until_spent(pid: int, more_s: float) -> float:
    """Wait until a process has used so much more; return what it has used more."""
    before_s = spent(pid)
    while spent(pid) < before_s + more_s:
        time.sleep(0.01)
    return spent(pid) - before_s


def test_who_computes_beside_the_tree_is_counted_and_voids_it(spawn) -> None:
    root, other = spawn(RESTING), spawn(SPINNING)
    probe = DisturbanceProbe(root.pid)
    probe.begin()
    begun_s = time.monotonic()
    used_s = until_spent(other.pid, ENOUGH_S)
    took_s = time.monotonic() - begun_s
    probe.end()
    found = probe.take()
    assert found is not None
    assert found.others_cores > 0.5 * used_s / took_s
    assert found.void[0].startswith("other programs used ")
    assert found.culprits


def test_the_tree_itself_is_no_disturbance_nor_are_children_that_it_lost(spawn) -> None:
    """Judged by who is named: what others do on this machine is not up to the test."""
    root = spawn(FORKING)
    probe = DisturbanceProbe(root.pid)
    probe.begin()
    root.tell()
    root.hear()
    probe.end()
    counted = probe._counted
    assert counted is not None
    assert counted.own_s > 0.15
    assert not any(f"({pid})" in name for name in counted.others_s for pid in (root.pid, os.getpid()))


def test_who_is_left_aside_is_no_disturbance(spawn) -> None:
    root, profiler = spawn(RESTING), spawn(SPINNING)
    probe = DisturbanceProbe(root.pid)
    probe.leave_aside(profiler.pid)
    probe.begin()
    used_s = until_spent(profiler.pid, ENOUGH_S)
    probe.end()
    counted = probe._counted
    assert counted is not None
    assert not any(f"({profiler.pid})" in name for name in counted.others_s)
    assert counted.own_s > 0.9 * used_s


def test_threads_that_share_a_core_wait_for_each_other(spawn) -> None:
    if run_delays(os.getpid()) == {}:
        pytest.skip("this kernel keeps no schedstat")
    root, other = spawn(SPINNING), spawn(SPINNING)
    core = min(os.sched_getaffinity(0))
    for child in (root, other):
        os.sched_setaffinity(child.pid, {core})
    probe = DisturbanceProbe(root.pid)
    probe.begin()
    until_spent(root.pid, ENOUGH_S)
    probe.end()
    counted, found = probe._counted, probe.take()
    assert counted is not None
    assert found is not None
    # It waited as long as the other one ran, and longer where others ran there too.
    assert counted.wait_s > 0.2 * counted.interval_s
    assert 0.05 < found.wait_cores <= found.others_cores
    assert any("made its threads wait" in reason for reason in found.void)


def test_windows_are_summed_until_they_are_taken(spawn) -> None:
    root = spawn(RESTING)
    probe = DisturbanceProbe(root.pid)
    assert probe.take() is None
    probe.end()  # nothing was begun
    for _ in range(2):
        probe.begin()
        time.sleep(0.02)
        probe.end()
    assert probe._counted is not None
    assert probe._counted.looks == 2
    assert probe._counted.interval_s >= 0.04
    assert probe.take() is not None
    assert probe.take() is None


def test_a_window_that_was_not_ended_is_forgotten(spawn) -> None:
    probe = DisturbanceProbe(spawn(RESTING).pid)
    probe.begin()
    assert probe.take() is None


def test_where_the_machine_tells_nothing_the_answer_is_null(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance, "cpu_times", lambda cores: None)
    monkeypatch.setattr(disturbance, "groups_of", lambda pid, controller: [Path("/gone")])
    monkeypatch.setattr(disturbance, "run_delays", lambda pid: {})
    monkeypatch.setattr(disturbance, "frequency_hz", lambda cores: None)
    probe = DisturbanceProbe(spawn(RESTING).pid)
    probe.begin()
    probe.end()
    found = probe.take()
    assert found is not None
    assert (found.steal_share, found.wait_cores, found.throttled_share, found.frequency_hz) == (None,) * 4


def test_the_most_throttled_group_is_named(spawn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner, outer = tmp_path / "outer/inner", tmp_path / "outer"
    inner.mkdir(parents=True)
    monkeypatch.setattr(disturbance, "groups_of", lambda pid, controller: [inner, outer, Path("/gone")])
    for folder in (inner, outer):
        (folder / "cpu.stat").write_text("throttled_usec 5000000\n")
    probe = DisturbanceProbe(spawn(RESTING).pid)
    probe.begin()
    (inner / "cpu.stat").write_text("throttled_usec 5001000\n")
    (outer / "cpu.stat").write_text("throttled_usec 9000000\n")
    time.sleep(0.02)
    probe.end()
    found = probe.take()
    assert found is not None
    assert found.throttled_share == 1.0
    assert f"a CPU quota ({outer}) held it up for 100.0 % of the time" in found.void


ROOT, MEMBER, ORPHAN, OTHER, AWAY, KERNEL = 100, 101, 102, 200, 300, 2


def process(
    parent: int, used_s: float, reaped_s: float = 0.0, *, core: int = 0, kernel: bool = False
) -> Process:
    return Process("it", parent, 1, kernel, core, 1, round(used_s * 1e9), round(reaped_s * 1e9))


@pytest.fixture
def second_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Snapshot, Snapshot, float], Counted]:
    """Count one second between two made-up looks at cores 0 and 1, which were busy for so long."""

    def count(before: Snapshot, after: Snapshot, busy_s: float) -> Counted:
        looks = iter([(before, 0.0), (before, 0.0), (after, busy_s)])
        processes, sums = zip(*looks, strict=True)
        snapshots, times = iter(processes), iter(CpuTimes(busy, 0.0) for busy in sums)
        monkeypatch.setattr(disturbance, "usable_cores", lambda: frozenset({0, 1}))
        monkeypatch.setattr(disturbance, "snapshot", lambda: next(snapshots))
        monkeypatch.setattr(disturbance, "cpu_times", lambda cores: next(times))
        monkeypatch.setattr(disturbance, "groups_of", lambda pid, controller: [])
        monkeypatch.setattr(disturbance, "run_delays", lambda pid: {})
        probe = DisturbanceProbe(ROOT)
        probe.begin()
        probe.end()
        assert probe._counted is not None
        return msgspec.structs.replace(probe._counted, interval_s=1.0)

    return count


def test_a_quiet_machine_is_quiet(second_of) -> None:
    before = {
        1: process(0, 9.0, 50.0),
        KERNEL: process(0, 3.0, kernel=True),
        ROOT: process(os.getpid(), 1.0),
        MEMBER: process(ROOT, 0.0),
        OTHER: process(1, 40.0),
    }
    after = {
        1: process(0, 9.004, 50.0),
        KERNEL: process(0, 3.3, kernel=True),
        ROOT: process(os.getpid(), 1.9),
        MEMBER: process(ROOT, 0.5),
        OTHER: process(1, 40.01),
    }
    counted = second_of(before, after, 1.72)
    assert (counted.own_s, counted.kernel_s) == (pytest.approx(1.4), pytest.approx(0.3))
    assert counted.others_s == pytest.approx({"it (1)": 0.004, f"it ({OTHER})": 0.01})
    assert disturbance_of(counted).void == []


def test_who_runs_on_other_cores_is_out_of_the_way(second_of) -> None:
    before = {ROOT: process(1, 0.0), AWAY: process(1, 0.0, core=7), OTHER: process(1, 0.0, core=1)}
    after = {ROOT: process(1, 0.5), AWAY: process(1, 1.0, core=7), OTHER: process(1, 0.6, core=1)}
    counted = second_of(before, after, 1.1)
    assert counted.others_s == {f"it ({OTHER})": pytest.approx(0.6)}
    assert disturbance_of(counted).others_cores == pytest.approx(0.6)


def test_what_an_orphan_of_the_tree_used_is_no_disturbance(second_of) -> None:
    """Its parent was killed, so init has waited for it, and has its time."""
    before = {
        1: process(0, 0.0),
        ROOT: process(7, 0.0),
        MEMBER: process(ROOT, 0.0),
        ORPHAN: process(MEMBER, 0.0),
    }
    counted = second_of(before, {1: process(0, 0.0, 0.9), ROOT: process(7, 0.1)}, 1.0)
    assert counted.others_s == {}
    assert counted.own_s == pytest.approx(1.0)
    still = second_of(before, {**before, 1: process(0, 0.0, 0.9)}, 1.0)
    assert still.others_s == {"it (1)": pytest.approx(0.9)}  # somebody else's orphan


@pytest.fixture
def quota():
    """A control group with a tenth of a core, where this process may make one."""
    group = Path("/sys/fs/cgroup/cpu") / f"fedbench-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("10000")
        (group / "cpu.cfs_period_us").write_text("100000")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no group with a quota can be made here: {error}")
    yield group
    for _ in range(100):  # a group empties when the last of it is reaped
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)


def test_a_quota_that_holds_the_tree_up_voids(quota: Path) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as child:
        try:
            (quota / "cgroup.procs").write_text(str(child.pid))
            probe = DisturbanceProbe(child.pid)
            probe.begin()
            until_spent(child.pid, 0.06)
            probe.end()
        finally:
            child.send_signal(signal.SIGKILL)
    found = probe.take()
    assert found is not None
    assert found.throttled_share > 0.1
    assert any(str(quota) in reason for reason in found.void)


def test_watching_tells_who_computes(spawn) -> None:
    spinning = spawn(SPINNING)
    before_s, begun_s = spent(spinning.pid), time.monotonic()
    found = watch(0.2)
    used_cores = (spent(spinning.pid) - before_s) / (time.monotonic() - begun_s)
    assert found.others_cores > 0.5 * used_cores
    assert found.wait_cores is None
