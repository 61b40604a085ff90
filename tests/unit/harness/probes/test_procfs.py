import os
import subprocess
import threading

import pytest

from harness.probes.procfs import open_descriptors, read_bytes, thread_ids


def test_files_are_read_whole() -> None:
    with open("/proc/self/cmdline", "rb") as file:
        assert read_bytes(f"/proc/{os.getpid()}/cmdline") == file.read()


def test_every_thread_is_listed() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert {threading.get_native_id(), thread.native_id} <= set(thread_ids(os.getpid()))
    finally:
        release.set()
        thread.join()


def test_every_open_descriptor_of_another_process_counts() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert open_descriptors(process.pid) >= 3
        before = open_descriptors(os.getpid())
        with open(os.devnull):
            assert open_descriptors(os.getpid()) == before + 1


def test_what_has_vanished_is_nothing() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_bytes(f"/proc/{process.pid}/smaps_rollup") is None  # a zombie has no memory to tell of
    assert thread_ids(process.pid) == [process.pid]
    process.wait()
    assert read_bytes(f"/proc/{process.pid}/status") is None
    assert thread_ids(process.pid) == []
    assert open_descriptors(process.pid) == 0


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(NotADirectoryError):
        read_bytes("/proc/self/status/nothing")
