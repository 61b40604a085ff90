"""Placement: this process here, its children there, and everything as before afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.workloads.placement import two_cores

ALLOWED = os.sched_getaffinity(0)


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as made:
        yield made.pid
        made.kill()


@pytest.mark.skipif(len(ALLOWED) < 2, reason="needs two cores")
def test_the_ends_are_kept_apart_and_let_go_again(child: int) -> None:
    near, far, *_ = sorted(ALLOWED)
    with two_cores():
        assert os.sched_getaffinity(0) == {near}
        assert os.sched_getaffinity(child) == {far}
    assert os.sched_getaffinity(0) == os.sched_getaffinity(child) == ALLOWED


def test_nothing_happens_unless_it_is_wanted(child: int) -> None:
    with two_cores(wanted=False):
        assert os.sched_getaffinity(0) == os.sched_getaffinity(child) == ALLOWED


def test_one_core_is_not_two(child: int) -> None:
    os.sched_setaffinity(0, {min(ALLOWED)})
    try:
        with two_cores():
            assert os.sched_getaffinity(child) == ALLOWED
    finally:
        os.sched_setaffinity(0, ALLOWED)
