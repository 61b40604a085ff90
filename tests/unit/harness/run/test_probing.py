import gc
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from harness.probes.lognoise import LogCapture
from harness.records.derive import Sampled
from harness.run import probing as probing_module
from harness.run.probing import Probing

CHILD = """
import subprocess, sys, time
held = []
for line in sys.stdin:
    if line == "spin\\n":
        sum(range(3_000_000))
    elif line == "nap\\n":
        time.sleep(0.001)
    elif line == "grow\\n":
        held.append(bytearray(b"x" * 20_000_000))
    elif line == "shrink\\n":
        held.clear()
    elif line == "fork\\n":
        subprocess.run(["true"])
    elif line == "log\\n":
        print("WARNING tests careful\\nINFO tests well", file=sys.stderr, flush=True)
    print("done", flush=True)
"""


class Child:
    """A process that does as it is told, a line a task."""

    def __init__(self, capture: LogCapture) -> None:
        self.process = Popen(
            [sys.executable, "-S", "-c", CHILD], stdin=PIPE, stdout=PIPE, stderr=capture, text=True, bufsize=1
        )
        self.does("start")

    def does(self, task: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{task}\n")
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[LogCapture]:
    with LogCapture(tmp_path) as made:
        yield made


@pytest.fixture
def child(capture: LogCapture) -> Iterator[Child]:
    made = Child(capture)
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture
def probing(child: Child, capture: LogCapture) -> Iterator[Probing]:
    made = Probing(child.process.pid, capture)
    yield made
    made.stop()


def samplers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "memory-sampler"]


def test_what_happens_between_begin_and_end_is_counted(probing: Probing, child: Child) -> None:
    child.does("spin")
    child.does("log")
    probing.begin(memory=False)
    child.does("spin")
    child.does("nap")
    child.does("log")
    probing.end()
    child.does("log")
    sampled = probing.take()
    assert 0 < sampled.cpu_s <= sampled.elapsed_s * 1.5
    assert sampled.wakeups >= 1
    assert (sampled.log_records, sampled.log_warnings) == (2, 1)
    assert sampled.log_bytes == len("WARNING tests careful\nINFO tests well\n")


def test_wake_ups_are_not_known_where_a_process_took_its_counts_along(probing: Probing, child: Child) -> None:
    for task, missing in (("fork", {"wakeups"}), ("nap", set())):
        probing.begin(memory=False)
        child.does(task)
        probing.end()
        assert probing.take().missing.keys() == missing


def test_memory_is_sampled_only_where_it_is_asked_for(probing: Probing, child: Child) -> None:
    probing.begin(memory=False)
    assert samplers() == []
    child.does("grow")
    probing.end()
    sampled = probing.take()
    assert (sampled.memory_start_bytes, sampled.memory_peak_bytes, sampled.memory_hwm_bytes) == (None,) * 3


def test_the_peak_is_kept_when_the_memory_is_given_back(probing: Probing, child: Child) -> None:
    probing.begin(memory=True)
    child.does("grow")
    probing.sample()
    child.does("shrink")
    probing.end()
    sampled = probing.take()
    assert sampled.memory_start_bytes is not None
    assert sampled.memory_peak_bytes is not None
    assert sampled.memory_peak_bytes - sampled.memory_start_bytes > 19_000_000
    assert sampled.memory_hwm_bytes > 20_000_000


def test_the_high_water_mark_is_that_of_the_window(probing: Probing, child: Child) -> None:
    child.does("grow")
    child.does("shrink")
    probing.begin(memory=True)
    child.does("nap")
    probing.end()
    low_bytes = probing.take().memory_hwm_bytes
    probing.begin(memory=True)
    child.does("grow")
    child.does("shrink")
    probing.end()
    high_bytes = probing.take().memory_hwm_bytes
    assert low_bytes is not None
    assert high_bytes is not None
    assert low_bytes + 19_000_000 < high_bytes


def test_a_high_water_mark_that_cannot_be_reset_is_none(
    probing: Probing, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing_module, "reset_high_water", lambda pids: False)
    probing.begin(memory=True)
    probing.end()
    sampled = probing.take()
    assert sampled.memory_hwm_bytes is None
    assert sampled.memory_peak_bytes is not None


def test_what_was_sampled_is_given_once(probing: Probing, child: Child) -> None:
    probing.begin(memory=False)
    child.does("log")
    probing.end()
    assert probing.take().log_records == 2
    assert probing.take() == Sampled()


def test_every_begin_starts_anew(probing: Probing, child: Child) -> None:
    for _ in range(2):
        probing.begin(memory=False)
        child.does("log")
        probing.end()
        assert probing.take().log_records == 2


def test_a_workload_that_never_ended_leaves_no_sampler_to_the_next(probing: Probing) -> None:
    probing.begin(memory=True)
    assert samplers() == ["memory-sampler"]
    probing.take()
    assert samplers() == []
    probing.begin(memory=False)
    probing.end()
    assert probing.take().memory_peak_bytes is None


def test_what_others_did_is_told_of_all_windows(probing: Probing, child: Child) -> None:
    assert probing.take().disturbance is None
    for _ in range(2):
        probing.begin(memory=False)
        child.does("nap")
        probing.end()
    found = probing.take().disturbance
    assert found is not None
    assert found.others_cores is not None
    assert not any(f"({child.process.pid})" in culprit for culprit in found.culprits)


def test_a_profiler_is_left_aside(probing: Probing, child: Child, tmp_path: Path) -> None:
    with LogCapture(tmp_path) as other_capture:
        profiler = Child(other_capture)
        probing.leave_aside(profiler.process.pid)
        probing.begin(memory=False)
        for _ in range(20):
            profiler.does("spin")
        probing.end()
        profiler.process.kill()
        profiler.process.communicate()
    found = probing.take().disturbance
    assert found is not None
    assert not any(f"({profiler.process.pid})" in culprit for culprit in found.culprits)


def test_it_can_be_stopped_in_the_middle_and_again(probing: Probing) -> None:
    probing.begin(memory=True)
    probing.stop()
    probing.stop()
    assert samplers() == []


def test_a_child_that_has_died_can_still_be_read_until_it_is_waited_for(
    probing: Probing, child: Child
) -> None:
    probing.begin(memory=True)
    child.does("spin")
    child.process.kill()
    child.process.communicate()
    probing.end()
    assert probing.take().elapsed_s > 0


def test_a_child_that_is_gone_cannot_be_measured(probing: Probing, child: Child) -> None:
    child.process.kill()
    child.process.communicate()
    with pytest.raises(ProcessLookupError):
        probing.begin(memory=True)
    assert samplers() == []


def test_what_probing_takes_is_summed_over_all_windows(probing: Probing) -> None:
    gc.disable()  # a collection of all that the tests have left is no cost of probing
    try:
        for _ in range(3):
            probing.begin(memory=True)
            time.sleep(0.12)
            probing.end()
    finally:
        gc.enable()
    probing.begin(memory=False)
    probing.end()
    sampled = probing.take()
    assert 0.36 <= sampled.probe_s < 5.0
    assert 0 < sampled.probe_cpu_s < 0.1 * sampled.probe_s


def test_whatever_the_measuring_process_does_in_a_window_is_the_cost_of_probing(probing: Probing) -> None:
    probing.begin(memory=False)
    end_s = time.thread_time() + 0.05
    while time.thread_time() < end_s:
        pass
    probing.end()
    while time.thread_time() < end_s + 0.3:
        pass
    assert 0.05 <= probing.take().probe_cpu_s < 0.3
