"""Peers: death is told by the kernel, and ends the leases of the dead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from fedbench.transport.process.peer import Peer


class Store:
    """Remembers who was forgotten."""

    def __init__(self, *, lends=True):
        self.forgotten = []
        self.lends = lends

    def lends_to(self, holder):
        return self.lends

    def forget(self, holder):
        self.forgotten.append(holder)


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as made:
        yield made
        made.kill()


def peer_of(pid, pidfd):
    return Peer(pid, pidfd, *os.pipe())


async def died(process):
    process.kill()
    process.wait()
    await asyncio.sleep(0.01)


async def test_death_is_told_once(process):
    peer, told = peer_of(process.pid, os.pidfd_open(process.pid)), []
    peer.on_death = lambda: told.append(1)
    assert peer.watched
    await died(process)
    assert told == [1]
    assert not peer.watched
    peer.close("holder", Store())


async def test_leases_end_with_the_process_and_not_with_the_connection(process):
    peer, store = peer_of(process.pid, os.pidfd_open(process.pid)), Store()
    peer.on_death = lambda: pytest.fail("the connection is over")
    peer.close("holder", store)
    await asyncio.sleep(0)
    assert store.forgotten == []
    await died(process)
    assert store.forgotten == ["holder"]


async def test_a_process_that_holds_nothing_is_watched_no_longer_than_its_connection(process):
    peer = peer_of(process.pid, os.pidfd_open(process.pid))
    peer.close("holder", Store(lends=False))
    assert not peer.watched


async def test_one_that_is_abandoned_is_not_watched(process):
    peer, store = peer_of(process.pid, os.pidfd_open(process.pid)), Store()
    peer.close("holder", store)
    peer.abandon()
    peer.abandon()
    await died(process)
    assert store.forgotten == []


async def test_this_process_is_not_watched_by_itself():
    peer = peer_of(os.getpid(), None)
    assert not peer.watched
    peer.close("holder", Store())
    peer.abandon()
