import os
import signal

import psutil
import pytest

from harness.probes import tree

FAMILY = """
    import subprocess, sys, threading
    leaf = [sys.executable, "-S", "-c", "print('ready', flush=True); input()"]
    middle = "import subprocess, sys; p = subprocess.Popen(%r); print(p.pid, flush=True); input()" % leaf
    subprocess.Popen([sys.executable, "-S", "-c", middle])
    thread = threading.Thread(target=lambda: subprocess.Popen(leaf))
    thread.start()
    thread.join()
    input()
"""


@pytest.fixture(params=[True, False], ids=["kernel", "psutil"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walk by the kernel's lists of children and by psutil in turn."""
    if request.param and not tree._KERNEL_LISTS_CHILDREN:
        pytest.skip("this kernel does not list children")
    monkeypatch.setattr(tree, "_KERNEL_LISTS_CHILDREN", request.param)


@pytest.mark.usefixtures("source")
def test_descendants_of_all_generations_come_after_their_parents(spawn) -> None:
    root = spawn(FAMILY)
    root.hear()
    root.hear()
    pids = tree.process_tree(root.pid)
    assert pids[0] == root.pid
    assert len(pids) == len(set(pids)) == 4
    for pid in pids[1:]:
        assert pids.index(psutil.Process(pid).ppid()) < pids.index(pid)
    for pid in reversed(pids[1:]):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("source")
def test_a_zombie_stays_until_it_is_reaped_and_nothing_after(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert tree.process_tree(child.pid) == [child.pid]
    child.end()
    assert tree.process_tree(child.pid) == []


def test_a_child_that_vanishes_during_the_walk_is_left_out(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("print('ready', flush=True); input()")

    def list_then_reap(pid: int) -> list[int]:
        if pid == child.pid:
            child.end()
        return real(pid)

    real = tree.thread_ids
    monkeypatch.setattr(tree, "thread_ids", list_then_reap)
    assert child.pid not in tree._walk(os.getpid())
    assert child.process.returncode is not None
