import os
import time

import pytest

from harness.probes.cpu import CpuProbe, cpu_ns

BURN = """
    import threading, time
    def burn():
        while time.thread_time() < 0.15:
            pass
"""


def test_it_is_the_cpu_time_the_process_itself_sees() -> None:
    before_ns = time.process_time_ns()
    seen_ns = cpu_ns(os.getpid())
    assert seen_ns is not None
    assert before_ns <= seen_ns <= time.process_time_ns()


def test_a_zombie_still_has_its_time_and_a_reaped_process_none(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert (cpu_ns(child.pid) or 0) > 0
    child.end()
    assert cpu_ns(child.pid) is None


@pytest.mark.slow
def test_threads_that_have_ended_count_and_what_was_before_start_does_not(spawn) -> None:
    child = spawn(
        BURN
        + """
    while time.process_time() < 0.6:
        pass
    print("ready", flush=True)
    input()
    for _ in range(2):
        thread = threading.Thread(target=burn)
        thread.start()
        thread.join()
    print("burnt", flush=True)
    input()
    """
    )
    probe = CpuProbe(child.pid)
    probe.start()
    child.tell()
    child.hear()
    used_s = probe.stop()
    assert 0.3 <= used_s < 0.6  # with what was before the start it would be 0.9


@pytest.mark.slow
def test_a_process_born_and_ended_in_between_counts_as_it_was_last_seen(spawn) -> None:
    root = spawn("""
        import subprocess, sys
        burn = "import time\\nwhile time.process_time() < 0.15: pass\\nprint('burnt', flush=True); input()"
        print("ready", flush=True)
        input()
        child = subprocess.Popen([sys.executable, "-S", "-c", burn], stdin=subprocess.PIPE)
        input()
        child.communicate(b"\\n")
        print("reaped", flush=True)
        input()
    """)
    probe = CpuProbe(root.pid)
    probe.start()
    root.tell()
    root.hear()
    assert probe.sample() >= 0.15
    root.tell()
    root.hear()
    assert probe.stop() >= 0.15


def test_a_sleeping_process_uses_next_to_nothing(spawn) -> None:
    child = spawn("print('ready', flush=True); input()")
    probe = CpuProbe(child.pid)
    probe.start()
    assert 0 <= probe.stop() < 0.05
