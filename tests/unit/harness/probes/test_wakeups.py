import time

import pytest

from harness.probes import wakeups
from harness.probes.wakeups import WakeupProbe, voluntary_switches
from tests.pace import limit_s

WORKERS = """
    import threading, time
    finished = threading.Barrier(5)
    release = threading.Event()
    def work():
        for _ in range(50):
            time.sleep(0.001)
        finished.wait()
        release.wait()
    print("ready", flush=True)
    input()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    finished.wait()
    print("worked", flush=True)
    input()
    release.set()
    for thread in threads: thread.join()
    print("ended", flush=True)
    input()
"""


@pytest.mark.slow
def test_wakeups_of_every_thread_count_also_after_its_end(spawn) -> None:
    child = spawn(WORKERS)
    probe = WakeupProbe(child.pid)
    probe.start()
    child.tell()
    child.hear()
    seen = probe.sample()
    by_thread = voluntary_switches(child.pid)
    assert len(by_thread) == 5
    assert by_thread.pop(child.pid) < 50  # all that a look at the leader alone would show
    assert min(by_thread.values()) >= 50
    assert seen >= 200
    child.tell()
    child.hear()
    end_s = time.monotonic() + limit_s(10)  # a thread is joined before the kernel has forgotten it
    while list(voluntary_switches(child.pid)) != [child.pid] and time.monotonic() < end_s:
        time.sleep(0.001)
    assert list(voluntary_switches(child.pid)) == [child.pid]
    assert probe.stop() >= seen


def test_children_count_too(spawn) -> None:
    root = spawn("""
        import subprocess, sys
        sleeper = "import time\\nfor _ in range(30): time.sleep(0.001)\\nprint('slept', flush=True); input()"
        print("ready", flush=True)
        input()
        subprocess.Popen([sys.executable, "-S", "-c", sleeper])
        input()
    """)
    probe = WakeupProbe(root.pid)
    probe.start()
    root.tell()
    root.hear()
    assert probe.stop() >= 30


def test_a_blocked_process_is_not_woken(spawn) -> None:
    child = spawn("print('ready', flush=True); input()")
    probe = WakeupProbe(child.pid)
    probe.start()
    assert probe.stop() <= 3  # it may still have been on its way to the read


def test_a_process_that_is_gone_has_no_threads(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    child.end()
    assert voluntary_switches(child.pid) == {}


def test_a_thread_that_ends_after_it_was_listed_is_left_out(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("print('ready', flush=True); input()")
    listed = wakeups.thread_ids(child.pid)
    monkeypatch.setattr(wakeups, "thread_ids", lambda pid: [*listed, 2**30])  # beyond the largest id there is
    assert list(voluntary_switches(child.pid)) == listed
