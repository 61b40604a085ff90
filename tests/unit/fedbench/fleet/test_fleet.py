"""Fleets of real processes: started together, watched, brought back, ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

import pytest

from fedbench.fleet.fleet import Fleet
from fedbench.fleet.settings import FleetSettings
from tests.fakes.fleet import child
from tests.pace import limit_s

WAIT_S = 20.0


class Watched:
    """A fleet and what it reported."""

    def __init__(self, settings=None):
        self.exits: list[tuple[str, int | None, bool]] = []
        self.changed = asyncio.Event()
        self.fleet = Fleet(child, settings or FleetSettings(), on_exit=self._exited)

    def _exited(self, child_id, end):
        self.exits.append((child_id, end.exitcode, end.restarted))
        self.changed.set()

    async def until(self, count):
        async with asyncio.timeout(limit_s(WAIT_S)):
            while len(self.exits) < count:
                self.changed.clear()
                await self.changed.wait()


def spec(what, **more):
    return {"server": os.getpid(), "what": what, **more}


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
async def test_children_run_and_end_without_a_trace(method):
    watched = Watched(FleetSettings(method))
    await watched.fleet.start({"a": spec("wait"), "b": spec("wait")})
    pids = [watched.fleet.pid(name) for name in "ab"]
    assert len(set(pids)) == 2
    await watched.fleet.stop(grace_s=0)
    assert sorted(watched.exits) == [("a", -15, False), ("b", -15, False)]
    assert watched.fleet.pid("a") is None
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await watched.fleet.stop()


async def test_a_killed_child_is_reported_once_with_its_signal(caplog):
    watched = Watched()
    await watched.fleet.start({"a": spec("wait"), "b": spec("wait")})
    watched.fleet.kill("a")
    await watched.until(1)
    assert watched.exits == [("a", -9, False)]
    assert "a (process" in caplog.text
    assert "ended by SIGKILL" in caplog.text
    with pytest.raises(KeyError):
        watched.fleet.kill("a")
    await watched.fleet.stop(grace_s=0)


async def test_exit_codes_are_told_and_an_orderly_end_is_no_warning(caplog):
    caplog.set_level(logging.INFO)
    watched = Watched(FleetSettings(restart="on_failure"))
    await watched.fleet.start({"a": spec(0)})
    await watched.until(1)
    assert watched.exits == [("a", 0, False)]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    await watched.fleet.stop()


async def test_a_child_is_brought_back_with_the_next_incarnation(tmp_path):
    report = tmp_path / "lives"
    watched = Watched(FleetSettings(restart="on_failure"))
    await watched.fleet.start({"a": spec("once", report=str(report))})
    await watched.until(1)
    assert watched.exits == [("a", -9, True)]
    async with asyncio.timeout(limit_s(WAIT_S)):
        while len(report.read_text().splitlines()) < 2:
            await asyncio.sleep(0.01)
    assert [line.split()[:2] for line in report.read_text().splitlines()] == [["a", "1"], ["a", "2"]]
    await watched.fleet.stop(grace_s=0)
    assert watched.exits[1:] == [("a", -15, False)]


async def test_restarts_end_with_their_budget(caplog):
    watched = Watched(FleetSettings(restart="on_failure", max_restarts=2))
    await watched.fleet.start({"a": spec(3)})
    await watched.until(3)
    assert watched.exits == [("a", 3, True), ("a", 3, True), ("a", 3, False)]
    assert "no restart is left" in caplog.text
    await watched.fleet.stop()


@pytest.mark.parametrize("what", ["stubborn", "stopped"])
async def test_what_does_not_end_is_killed(what, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr("fedbench.fleet.fleet.TERM_GRACE_S", 0.1)
    report = tmp_path / "lives"
    watched = Watched()
    await watched.fleet.start({"a": spec(what, report=str(report))})
    async with asyncio.timeout(limit_s(WAIT_S)):
        while not report.exists():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # until it ignores the signal
    if what == "stopped":
        os.kill(watched.fleet.pid("a"), signal.SIGSTOP)
    await watched.fleet.stop(grace_s=0)
    # A kernel may end a stopped process by SIGTERM already, if that has its default effect there.
    assert watched.exits[0] in [("a", -9, False), ("a", -15, False)][: 1 if what == "stubborn" else 2]
    assert "sending it SIG" in caplog.text


async def test_stopping_while_starting_ends_what_was_started():
    watched = Watched()
    starting = asyncio.create_task(watched.fleet.start({str(n): spec("wait") for n in range(200)}))
    await asyncio.sleep(0.03)
    await watched.fleet.stop(grace_s=0)
    await starting
    assert len(watched.exits) < 200


async def test_a_cancelled_start_leaves_nothing_once_it_is_stopped():
    watched = Watched()
    starting = asyncio.create_task(watched.fleet.start({str(n): spec("wait") for n in range(5)}))
    await asyncio.sleep(0.02)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await watched.fleet.stop(grace_s=0)
