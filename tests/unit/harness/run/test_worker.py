import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.run import worker
from harness.run.protocol import (
    GO,
    Begin,
    Cell,
    CellJob,
    End,
    Event,
    Finished,
    Job,
    Sample,
    encode,
    event_decoder,
)
from harness.run.session import ParentGone

PING = CellJob("ping", "rpc_ping", {"clients": 2, "operations": 5, "warmup": 0, "duration_s": 5.0})
MEMORY = CellJob("memory", "memory_round", {"clients": 2, "rounds": 1, "model_bytes": 64})
FAULTS = CellJob("faults", "fault_logs", {"clients": 4, "deadline_s": 0.3})
FLOOR = CellJob("floor", "floor", {"operation": "hop", "operations": 10})
DIGITS = CellJob("digits", "digits_training", {"clients": 2, "rounds": 1, "least_accuracy": 0.999})


pytestmark = pytest.mark.usefixtures("may_block")  # a worker stops while it tells its parent something


@contextmanager
def fresh_root_logger() -> Iterator[None]:
    """The worker sets up the root logger: have one without handlers, and the old one back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def work(cells: list[CellJob], *, stack: str = "push", answers: int = 1000, **job: Any) -> list[Event]:
    """Run a worker in this process, with a parent in a thread that answers so many times and then is gone."""
    command_read, command_write = os.pipe()
    event_read, event_write = os.pipe()
    told: list[Event] = []

    def parent(left: int) -> None:
        with os.fdopen(event_read, "rb") as events, os.fdopen(command_write, "wb", 0) as commands:
            commands.write(
                encode(
                    Job(
                        stack,
                        stack,
                        job.get("mode", "memory"),
                        job.get("loop", "asyncio"),
                        job.get("settings", {}),
                        cells,
                    )
                )
            )
            for line in events:
                told.append(event_decoder.decode(line))
                if isinstance(told[-1], Cell | Finished):
                    continue
                if left == 0:
                    return
                left -= 1
                commands.write(GO)

    thread = threading.Thread(target=parent, args=(answers,))
    thread.start()
    try:
        with fresh_root_logger():
            worker.main(command_read, event_write)
    finally:
        os.close(event_write)
        thread.join()
    return told


def finished(told: list[Event]) -> list[Finished]:
    return [event for event in told if isinstance(event, Finished)]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_workloads_are_run_in_turn_and_told_of(loop: str) -> None:
    told = work([PING, MEMORY], loop=loop)
    ping, memory = finished(told)
    assert told == [
        Cell("ping"),
        Begin(memory=False),
        End(),
        ping,
        Cell("memory"),
        Begin(memory=True, densely=True),
        Sample(),
        End(),
        memory,
    ]
    assert (ping.workload, ping.status, ping.reasons, ping.outcome.operations) == ("ping", "ok", [], 5)
    assert (memory.status, memory.outcome.clients) == ("ok", 2)


@pytest.mark.slow
def test_records_are_counted_and_written_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    (faults,) = finished(work([FAULTS]))
    assert (faults.status, faults.reasons) == ("ok", [])
    assert faults.outcome.logged == 4
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("WARNING ") and "yaml_client_" in line]) == 4


@pytest.mark.parametrize(("mode", "counted"), [("memory", True), ("process", False)])
def test_records_are_not_counted_where_clients_log_elsewhere(mode: str, counted: bool) -> None:
    (floor,) = finished(work([FLOOR], stack="floors", mode=mode))
    assert ("logger_records_per_op" not in floor.outcome.missing) is counted
    assert "cpu_cores" in floor.outcome.missing


def test_what_a_stack_cannot_do_is_told_and_the_next_workload_runs() -> None:
    first, second = finished(work([PING, FLOOR], stack="floors"))
    assert (first.status, second.status) == ("unsupported", "ok")
    assert first.reasons == ["floors are operations of the event loop, not a federation"]


def test_a_workload_that_raises_is_told_with_its_traceback_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = finished(work([CellJob("pong", "rpc_pong", {}), FLOOR], stack="floors"))
    assert (first.status, first.reasons) == ("failed", ["KeyError: 'rpc_pong'"])
    assert second.status == "ok"
    log = capsys.readouterr().err
    assert "floors under pong failed" in log
    assert "Traceback" in log


def test_a_stack_that_cannot_be_made_is_told() -> None:
    (only,) = finished(work([PING], settings={"interval_s": 1}))
    assert only.status == "failed"
    assert only.reasons == ["ValueError: the stack 'push' has no settings, found interval_s"]


@pytest.mark.slow
def test_a_wrong_result_is_a_failure() -> None:
    (digits,) = finished(work([DIGITS]))
    assert digits.status == "failed"
    assert digits.reasons == digits.outcome.wrong
    assert digits.reasons[0].endswith("is below 0.999")


def test_a_worker_whose_parent_is_gone_ends() -> None:
    with pytest.raises(ParentGone, match="measuring process is gone"):
        work([PING, FLOOR], answers=1)


def test_the_kernel_is_asked_to_end_a_worker_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ctypes.CDLL(None)
    signal_number = ctypes.c_int()
    get, off = 2, 0
    try:
        worker._die_with_parent(os.getppid())
        libc.prctl(get, ctypes.byref(signal_number))
        assert signal_number.value == 9
        monkeypatch.setattr(os, "getppid", lambda: 1)
        with pytest.raises(SystemExit, match="measuring process is gone"):
            worker._die_with_parent(4711)
    finally:
        libc.prctl(worker.PR_SET_PDEATHSIG, off)


ORPHAN = """
import os, subprocess, sys
from harness.run.worker import _keep_orphans
_keep_orphans()
leave = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
orphan = int(subprocess.run([sys.executable, "-c", leave], stdout=subprocess.PIPE).stdout)
print(open(f"/proc/{orphan}/stat").read().rsplit(")", 1)[1].split()[1] == str(os.getpid()))
os.kill(orphan, 9)
"""


def test_who_loses_its_parent_stays_below_the_worker() -> None:
    ended = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"
