"""What every link promises its connection and its transport."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from fedbench.transport.network.streamlink import StreamLink
from tests.fakes.clock import FakeClock
from tests.fakes.frames import FakeOwner
from tests.pace import limit_s
from tests.unit.fedbench.transport.network.test_streamlink import FakeStream
from tests.unit.fedbench.transport.network.test_websocket import linked


@contextlib.asynccontextmanager
async def by_stream():
    owner = FakeOwner()
    yield StreamLink(FakeStream(), owner, FakeClock()), owner


@contextlib.asynccontextmanager
async def by_websocket():
    async with linked() as end:
        yield end.link, end.owner


LINKS = pytest.mark.parametrize("made", [by_stream, by_websocket])


@LINKS
@pytest.mark.parametrize("runs", [False, True])
async def test_a_link_that_is_cut_is_over_and_stays_it_whatever_it_is_told(made, runs):
    async with made() as (link, owner):
        if runs:
            link.run()
        link.abort()
        await asyncio.wait_for(link.over, limit_s(5))
        owner.frames = [(b"late",)]
        for telling in (link.run, link.wake, link.abort, lambda: link.finish([(b"last",)])):
            telling()
        await asyncio.sleep(0)
        assert link.over.done()
        assert owner.frames == [(b"late",)]


@LINKS
async def test_a_link_is_heard_from_its_beginning(made):
    async with made() as (link, _):
        assert link.heard_ns == FakeClock().now_ns()
        link.abort()
