"""How fast this machine is now: every limit of time in the tests follows from it, and none is a promise."""

from __future__ import annotations

import math
import os
import sys
import time
from functools import cache
from pathlib import Path

PACE = "FEDBENCH_PACE"
"""Environment variable: what the first process of a run has measured, for its workers and their children."""
NIGHTLY = "FEDBENCH_NIGHTLY"
"""Environment variable: run the nightly tests too, and property tests with all their examples."""
TURNS = 150
REFERENCE_S = 0.20
"""Seconds that ``TURNS`` turns take on the machine on which the limits were written (2.6 GHz, idle)."""
HEADROOM = 3.0
"""What may become of the machine after it was measured: as much again for each of two neighbours."""
MOST = 30.0
"""A test that hangs must end some day, however slow the machine was at the start."""


def measured_s() -> float:
    """Return how long a fixed bit of work takes by the clock on the wall.

    It takes longer than a period of the kernel's CPU quota (0.1 s), so that throttling shows.
    """
    start_s = time.perf_counter()
    for _ in range(TURNS):
        numbers = {str(number): math.sqrt(number) for number in range(6_000)}
        assert len(sorted(numbers.values())) == 6_000
    return time.perf_counter() - start_s


@cache
def factor() -> float:
    """Return by what limits are multiplied here, at least 1; measured once for a run with all its workers."""
    if PACE not in os.environ:
        slower = max(1.0, measured_s() / REFERENCE_S)
        os.environ[PACE] = f"{min(slower * HEADROOM, MOST):.2f}"
    return float(os.environ[PACE])


def limit_s(seconds: float) -> float:
    """Return how long to wait for what takes less than ``seconds`` where the tests were written."""
    return seconds * factor()


def thorough() -> bool:
    """Whether this run has the time for nightly tests and all examples."""
    return os.environ.get(NIGHTLY, "") not in ("", "0")


def examples(count: int) -> int:
    """Return how many of ``count`` examples a property test takes: all once a night, a quarter otherwise."""
    return count if thorough() else max(10, count // 4)


def cores() -> int:
    """Return how many tests may compute at the same time: the cores of this process, or its share of them."""
    usable = float(len(os.sched_getaffinity(0)))
    return max(1, math.ceil(min(usable, _quota_cores())))


def _quota_cores() -> float:
    """Return what the control group of this process may use, in cores; infinite without a limit."""
    shares = [math.inf]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            shares += _unified(Path("/sys/fs/cgroup"), path)
        elif "cpu" in controllers.split(","):
            shares += _legacy(Path("/sys/fs/cgroup/cpu"), path)
    return min(shares)


def _unified(root: Path, path: str) -> list[float]:
    shares = []
    for folder in _upwards(root, path):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit():
            shares.append(int(quota) / int(period))
    return shares


def _legacy(root: Path, path: str) -> list[float]:
    shares = []
    for folder in _upwards(root, path):
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            shares.append(int(quota) / int(period))
    return shares


def _upwards(root: Path, path: str) -> list[Path]:
    """Return a group's folder and those above it; within a container it may be the root."""
    folder = root / path.lstrip("/")
    return [folder, *(each for each in folder.parents if each == root or root in each.parents)]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.stdout.write(f"{cores()}\n")
