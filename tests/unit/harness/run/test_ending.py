"""Ending a group of processes that own shared memory."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fedbench.tensors import segments
from harness.run.ending import end
from tests.fakes.fleet import running

pytestmark = pytest.mark.slow

CHILD = """
import time
from fedbench.tensors.segments import Segment
kept = Segment(4096)
print(kept.name, flush=True)
time.sleep(60)
"""
LEADER = f"""
import subprocess, sys
command = [sys.executable, "-c", {CHILD!r}]
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""


@pytest.fixture
def family():
    """A process that leads a group, the process that it has started, and the segment of that one."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER], stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        pid, name = leader.stdout.readline().decode().split()
        yield leader, int(pid), name
        end(leader, ())
    segments.sweep(int(pid))


def test_who_is_killed_leaves_no_shared_memory(family):
    leader, child, name = family
    assert segments.is_linked(name)
    end(leader, ())
    assert leader.returncode == -signal.SIGKILL
    assert not running(child)
    assert not segments.is_linked(name)
    end(leader, ())


def test_of_a_leader_that_is_dead_those_count_that_were_seen_below_it(family):
    leader, child, name = family
    leader.kill()
    leader.wait()
    end(leader, {child})
    assert not running(child)
    assert not segments.is_linked(name)


def test_a_process_of_another_group_is_let_alone(family):
    leader, _, _ = family
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        end(leader, {other.pid})
        assert other.poll() is None
        other.kill()
