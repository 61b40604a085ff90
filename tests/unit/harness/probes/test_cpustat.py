"""What cores did, from recorded texts; and that the texts of this machine are read."""

import os
import time
from pathlib import Path

import pytest

from harness.probes.cpustat import TICK_S, cpu_times, frequency_hz, usable_cores

STAT = """cpu  46189 5 6515 707874 266 7 136 30 9 0
cpu0 12915 3 2768 364629 41 3 49 10 4 0
cpu1 33273 2 3746 343245 224 4 87 20 5 0
intr 543698 0 0
ctxt 1077561
"""


def written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


def test_the_usable_cores_are_summed_without_interrupts(tmp_path: Path) -> None:
    proc = written(tmp_path, stat=STAT)
    both = cpu_times({0, 1}, proc)
    assert both is not None
    assert both.busy_s == pytest.approx((12915 + 3 + 2768 + 33273 + 2 + 3746) * TICK_S)
    assert both.steal_s == pytest.approx(30 * TICK_S)
    one = cpu_times({1}, proc)
    assert one is not None
    assert (one.busy_s, one.steal_s) == pytest.approx(((33273 + 2 + 3746) * TICK_S, 20 * TICK_S))


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("", {0}),
        (STAT, {0, 1, 2}),  # the third is not shown
        (STAT, set()),
        ("cpu0 0 0 0 0 0 0 0 0 0 0\n", {0}),  # a sandbox that shows nothing
        ("cpu0 1 2 3 4\n", {0}),  # before Linux 2.6.11, without steal
    ],
)
def test_what_is_not_told_is_none(tmp_path: Path, text: str, cores: set[int]) -> None:
    assert cpu_times(cores, written(tmp_path, stat=text)) is None


def test_without_proc_nothing_is_told(tmp_path: Path) -> None:
    assert cpu_times({0}, str(tmp_path)) is None
    assert frequency_hz({0}, str(tmp_path), str(tmp_path)) is None


def test_the_clock_is_the_mean_of_the_usable_cores(tmp_path: Path) -> None:
    for core, khz in enumerate((1_000_000, 2_000_000, 4_000_000)):
        folder = tmp_path / f"devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    assert frequency_hz({1, 2}, str(tmp_path), str(tmp_path)) == pytest.approx(3e9)
    assert frequency_hz({2, 3}, str(tmp_path), str(tmp_path)) is None


def test_a_driver_that_refuses_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").mkdir(parents=True)
    assert frequency_hz({0}, str(tmp_path), str(tmp_path)) is None


def test_without_cpufreq_clocks_that_differ_are_told(tmp_path: Path) -> None:
    text = "processor\t: 0\ncpu MHz\t\t: 1200.5\n\nprocessor\t: 1\ncpu MHz\t\t: 3400.0\n"
    proc = written(tmp_path, cpuinfo=text)
    assert frequency_hz({0}, proc, str(tmp_path)) == pytest.approx(1.2005e9)
    assert frequency_hz({0, 1}, proc, str(tmp_path)) == pytest.approx(2.30025e9)


def test_one_nominal_clock_says_nothing_of_now(tmp_path: Path) -> None:
    proc = written(tmp_path, cpuinfo="cpu MHz\t\t: 2596.134\ncpu MHz\t\t: 2596.134\n")
    assert frequency_hz({0, 1}, proc, str(tmp_path)) is None


def test_this_machine_counts_what_this_process_does() -> None:
    cores = usable_cores()
    assert cores <= set(range(os.cpu_count() or 1))
    before, own_s = cpu_times(cores), time.process_time()
    assert before is not None
    while time.process_time() < own_s + 0.2:
        pass
    after = cpu_times(cores)
    assert after is not None
    # Twenty samples at least 4 ms apart: none at all is out of the question, others may add any number.
    assert after.busy_s - before.busy_s > 0.1
    assert after.steal_s >= before.steal_s - 0.05
