"""Segments at the end of their owner: nothing is left, and the resource tracker has nothing to say."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.pace import limit_s

STORE = """
import multiprocessing, os, resource, signal, sys
import numpy as np
from fedbench.errors import TensorStoreFull
from fedbench.tensors import segments
segments.NAMESPACE = int(os.environ["NAMESPACE"])  # what other processes do not sweep
from fedbench.tensors.model import ModelState
from fedbench.tensors.segments import FOLDER, Segment, sweep
from fedbench.tensors.shared import SharedStore

def begin():
    store = SharedStore()
    kept = [ModelState.from_arrays({"w": np.ones(n, np.float32)}, store=store) for n in (10, 100_000)]
    print(*store._segments, flush=True)
    return store, kept
"""

EXIT = "store, kept = begin()"
CLOSED = EXIT + "; store.close()"
DROPPED = EXIT + "; del store, kept"
SWEPT = EXIT + "; [os.unlink(f'{FOLDER}/{name}') for name in store._segments]"
RAISED = EXIT + "; sys.exit(3)"

FORKED = """
store, kept = begin()
child = os.fork()
if not child:
    sys.exit(0)
os.waitpid(child, 0)
assert all(os.path.exists(f"{FOLDER}/{name}") for name in store._segments), "a fork owns nothing"
"""

KILLED = """
def hold(connection):
    store, kept = begin()
    connection.send(1)
    signal.pause()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=hold, args=(there,))
    child.start()
    here.recv()
    child.kill()
    child.join()
    assert len(sweep(child.pid, tracked=True)) == 2
"""

NO_ADDRESSES = """
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for nbytes in (1 << 30, 1 << 62, 1 << 70):
    try:
        Segment(nbytes)
    except TensorStoreFull as error:
        assert str(nbytes) in str(error)
    else:
        raise AssertionError(nbytes)
"""


def check(tmp_path, code, status=0):
    script = tmp_path / "owner.py"
    script.write_text(STORE + code)
    environment = {
        **os.environ,
        "PYTHONPATH": os.getcwd(),
        "OPENBLAS_NUM_THREADS": "1",
        "NAMESPACE": str(os.getpid()),
    }
    before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        names, errors = process.communicate(timeout=limit_s(15))
    assert errors == ""
    assert process.returncode == status
    left = set(os.listdir("/dev/shm")) - before
    assert not {name for name in left if name.startswith(f"fb-{os.getuid()}-{process.pid}-")}
    assert not left & set(names.split())
    return names.split()


def test_a_store_that_was_closed(tmp_path):
    assert len(check(tmp_path, CLOSED)) == 2


def test_a_store_that_nobody_has_closed(tmp_path):
    assert len(check(tmp_path, EXIT)) == 2


def test_a_store_that_was_collected_before(tmp_path):
    assert len(check(tmp_path, DROPPED)) == 2


def test_a_store_that_somebody_else_has_unlinked(tmp_path):
    assert len(check(tmp_path, SWEPT)) == 2


def test_a_process_that_fails(tmp_path):
    assert len(check(tmp_path, RAISED, status=3)) == 2


def test_a_fork_that_exits_takes_nothing_with_it(tmp_path):
    assert len(check(tmp_path, FORKED)) >= 2


def test_a_child_that_is_killed_is_swept_and_its_tracker_told(tmp_path):
    assert len(check(tmp_path, KILLED)) == 2


def test_a_segment_that_cannot_be_made(tmp_path):
    check(tmp_path, NO_ADDRESSES)
