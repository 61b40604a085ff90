"""Fleets in trouble: grandchildren, fork servers that die or hang, stops that overlap, lost servers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver

import pytest

from fedbench.fleet import starting
from fedbench.fleet.fleet import Fleet
from fedbench.fleet.settings import FleetSettings
from tests.fakes.fleet import child, running
from tests.pace import limit_s
from tests.unit.fedbench.fleet.children import forker

WAIT_S = 15.0


def spec(what="wait", **more):
    return {"server": os.getpid(), "what": what, **more}


def fleet(target, exits, **settings):
    return Fleet(target, FleetSettings(**settings), on_exit=lambda child_id, end: exits.append(end))


async def until(condition):
    async with asyncio.timeout(limit_s(WAIT_S)):
        while not condition():
            await asyncio.sleep(0.005)


def gone_within(pids, timeout_s):
    end_s = time.monotonic() + limit_s(timeout_s)
    while time.monotonic() < end_s and any(map(running, pids)):
        time.sleep(0.005)
    return not any(map(running, pids))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_a_death_is_noticed_though_a_grandchild_lives_on(method, tmp_path):
    exits, report = [], tmp_path / "grandchild"
    watched = fleet(forker, exits, start_method=method)
    await watched.start({"a": spec(report=str(report))})
    await until(report.exists)
    grandchild = int(report.read_text())
    try:
        watched.kill("a")
        async with asyncio.timeout(limit_s(5)):
            await watched.stop()
        assert [end.exitcode for end in exits] == [-9]
        assert running(grandchild)
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_a_death_is_told_without_its_code_if_the_fork_server_does_not_answer(monkeypatch, caplog):
    monkeypatch.setattr("fedbench.fleet.fleet.CODE_WAIT_S", 0.05)
    exits: list = []
    watched = fleet(child, exits)
    await watched.start({"a": spec()})
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGSTOP)
    try:
        watched.kill("a")
        await until(lambda: exits)
    finally:
        os.kill(server, signal.SIGCONT)
    assert exits[0].exitcode is None
    assert "ended in a way that nobody knows" in caplog.text
    await watched.stop()


async def test_stops_may_overlap():
    watched = fleet(child, [])
    await watched.start({"a": spec()})
    async with asyncio.timeout(limit_s(5)):
        await asyncio.gather(watched.stop(grace_s=30), watched.stop(grace_s=0))
    assert watched.pid("a") is None


async def test_a_cancelled_stop_can_be_repeated_and_loses_no_child():
    exits: list = []
    watched = fleet(child, exits)
    start = asyncio.create_task(watched.start({str(n): spec() for n in range(200)}))
    await asyncio.sleep(0.03)
    stop = asyncio.create_task(watched.stop(grace_s=0))
    await asyncio.sleep(0)
    stop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stop
    await watched.stop(grace_s=0)
    started = len(exits)
    await start
    assert len(exits) == started < 200


async def test_an_error_in_on_exit_does_not_keep_the_fleet_from_ending(caplog):
    def fail(child_id, end):
        raise RuntimeError("no")

    watched = Fleet(child, FleetSettings(), on_exit=fail)
    await watched.start({"a": spec()})
    async with asyncio.timeout(limit_s(5)):
        await watched.stop(grace_s=0)
    assert "RuntimeError: no" in caplog.text


async def test_a_restart_that_fails_is_logged(monkeypatch, caplog):
    def exhausted(*args):
        raise OSError(errno.EMFILE, "too many open files")

    watched = fleet(child, [], restart="on_failure")
    await watched.start({"a": spec()})
    monkeypatch.setattr(starting, "context", exhausted)
    watched.kill("a")
    await until(lambda: "a could not be started again: OSError" in caplog.text)
    await watched.stop()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_a_process_that_cannot_be_watched_is_not_left_running(method, monkeypatch):
    made = []

    def exhausted(pid):
        made.append(pid)
        raise OSError(errno.EMFILE, "too many open files")

    watched = fleet(child, [], start_method=method)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", exhausted)
        with pytest.raises(OSError, match="too many open files"):
            await watched.start({"a": spec()})
    assert len(made) == 1
    assert not running(made[0])
    await watched.stop()


async def test_what_is_dead_before_it_can_be_watched_is_reported(monkeypatch):
    def too_late(pid):
        os.kill(pid, signal.SIGKILL)
        raise ProcessLookupError

    exits: list = []
    watched = fleet(child, exits)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", too_late)
        await watched.start({"a": spec()})
    await until(lambda: exits)
    assert [end.exitcode for end in exits] == [-9]
    await watched.stop()


# In processes of their own: the fork server of these tests lives as long as they do -------------------------

HOST = """
import asyncio, os, signal, sys
from multiprocessing import forkserver
from pathlib import Path
from fedbench.fleet.fleet import Fleet
from fedbench.fleet.settings import FleetSettings
from tests.unit.fedbench.fleet import children

folder, method = sys.argv[1:]
class Mine:
    def __call__(self, child_id, incarnation, spec):
        children.busy(child_id, incarnation, spec)
def mine(child_id, incarnation, spec):
    Mine()(child_id, incarnation, spec)
def spec(name, **more):
    return {"server": os.getpid(), "report": f"{folder}/{name}", **more}
async def until(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.005)
    return Path(path).read_text()
BODY
if __name__ == "__main__":
    asyncio.run(main())
"""

SERVED = """
async def main():
    fleet = Fleet(mine, FleetSettings(method), on_exit=lambda *_: None)
    await fleet.start({name: spec("pid") for name in "abc"})
    print(*[await until(f"{folder}/pid.{name}") for name in "abc"], flush=True)
    await asyncio.Event().wait()
"""

FORK_SERVER_KILLED = """
async def main():
    exits = []
    first, second = (
        Fleet(children.preloaded, FleetSettings(method), on_exit=lambda _, end: exits.append(end.exitcode))
        for _ in range(2)
    )
    await first.start({"a": spec("first", wait=True)})
    print("preloaded", await until(f"{folder}/first"))
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    await asyncio.sleep(0.05)
    print("exits", exits, first.pid("a") is not None)
    await second.start({"b": spec("second")})
    print("preloaded", await until(f"{folder}/second"))
    await second.stop()
    await first.stop(grace_s=0, warn=False)
    print("exits", exits)
"""


def host(tmp_path, body, method="forkserver"):
    script = tmp_path / "host.py"
    script.write_text(HOST.replace("BODY", body))
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        text=True,
    )


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_children_are_gone_within_a_second_of_their_servers_death_while_they_compute(method, tmp_path):
    with host(tmp_path, SERVED, method) as server:
        pids = [int(pid) for pid in server.stdout.readline().split()]
        server.kill()
        assert len(pids) == 3
        assert gone_within(pids, 1.0)
        server.communicate(timeout=limit_s(WAIT_S))


def test_a_killed_fork_server_takes_no_child_with_it_and_is_replaced_with_its_preloads(tmp_path):
    with host(tmp_path, FORK_SERVER_KILLED) as server:
        output, errors = server.communicate(timeout=limit_s(WAIT_S))
    assert output.splitlines() == [
        "preloaded True",
        "exits [] True",
        "preloaded True",
        "exits [0, None]",
    ]
    assert "has died: starting another" in errors
    assert "Traceback" not in errors
