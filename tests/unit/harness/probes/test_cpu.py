import os
import time

import pytest

from harness.probes.accounting import CpuAccount
from harness.probes.cpu import NOT_WAITED_FOR, CpuProbe, WaitedFor, cpu_ns, waited_for

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
    assert waited_for(child.pid) == WaitedFor(0, 0)


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


COMERS = """
    import subprocess, sys, time
    burn = "import time\\nwhile time.process_time() < 0.05: pass"
    print("ready", flush=True)
    input()
    for _ in range(20):
        subprocess.run([sys.executable, "-S", "-c", burn])
    print("all gone", flush=True)
    input()
"""


@pytest.fixture(params=["account", "waited for"])
def probe_of(request: pytest.FixtureRequest):
    """Make a probe of each kind that this machine allows, as soon as a process is there."""
    account = CpuAccount.open() if request.param == "account" else None
    if request.param == "account" and account is None:
        pytest.skip("this user may not make control groups here")

    def make(pid: int) -> CpuProbe:
        assert account is None or account.add(pid)
        return CpuProbe(pid, account)

    yield make
    if account is not None:
        account.close()


@pytest.mark.slow
def test_processes_that_come_and_go_within_the_window_count(probe_of, spawn) -> None:
    root = spawn(COMERS)
    probe = probe_of(root.pid)
    probe.start()
    root.tell()
    root.hear()
    used_s = probe.stop()
    assert 0.95 * 20 * 0.05 <= used_s < 4.0
    assert (probe.missing, probe.came_and_went) == ("", True)
    probe.start()
    assert probe.stop() < 0.05
    assert not probe.came_and_went


@pytest.mark.slow
def test_of_a_process_that_ends_within_the_window_only_what_it_did_there_counts(probe_of, spawn) -> None:
    root = spawn("""
        import subprocess, sys
        code = "import time\\nwhile time.process_time() < 0.5: pass\\nprint('burnt', flush=True); input()"
        print("ready", flush=True)
        input()
        child = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)
        input()
        child.communicate(b"\\n")
        print("reaped", flush=True)
        input()
    """)
    probe = probe_of(root.pid)
    root.tell()
    root.hear()
    probe.start()
    root.tell()
    root.hear()
    assert probe.stop() < 0.2
    assert (probe.missing, probe.came_and_went) == ("", True)


@pytest.mark.slow
def test_what_nobody_waited_for_is_known_to_be_missing(spawn) -> None:
    root = spawn("""
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        read, write = os.pipe()
        if not os.fork():
            while time.process_time() < 0.2: pass
            os.write(write, b".")
            time.sleep(60)
        os.read(read, 1)
        print("ready", flush=True)
        input()
        os.kill(int(open(f"/proc/self/task/{os.getpid()}/children").read()), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            print("gone", flush=True)
        input()
    """)
    probe = CpuProbe(root.pid)
    probe.start()
    root.tell()
    root.hear()
    probe.stop()
    assert probe.missing == NOT_WAITED_FOR


def test_a_sleeping_process_uses_next_to_nothing(spawn) -> None:
    child = spawn("print('ready', flush=True); input()")
    probe = CpuProbe(child.pid)
    probe.start()
    assert 0 <= probe.stop() < 0.05
