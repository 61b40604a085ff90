from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import WebSocketError, WSMessage, WSMsgType

from fedbench.transport.network.link import LARGE_BYTES, Link
from tests.fakes.clock import FakeClock

CLOSED = WSMessage(WSMsgType.CLOSED, None, None)


class FakeSocket:
    def __init__(self):
        self.coming = asyncio.Queue()
        self.sent = []
        self.closed = False
        self.broken = False
        self.room = asyncio.Event()
        self.room.set()

    async def receive(self):
        return await self.coming.get()

    async def send_bytes(self, data):
        if self.broken:
            raise ConnectionResetError("gone")
        await self.room.wait()
        self.sent.append(data)

    async def close(self):
        self.closed = True
        self.coming.put_nowait(CLOSED)

    def abort(self):
        self.coming.put_nowait(CLOSED)
        self.room.set()

    def come(self, data, kind=WSMsgType.BINARY):
        self.coming.put_nowait(WSMessage(kind, data, None))


class FakeOwner:
    def __init__(self):
        self.frames = []
        self.came = []
        self.refused = []

    def next_frame(self):
        return self.frames.pop(0) if self.frames else None

    def frame_came(self, link, data):
        self.came.append(data)

    def frame_refused(self, link, reason):
        self.refused.append(reason)


@pytest.fixture
async def made():
    socket, owner, clock = FakeSocket(), FakeOwner(), FakeClock()
    link = Link(socket, socket.abort, owner, clock)
    running = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    yield SimpleNamespace(socket=socket, owner=owner, link=link, clock=clock, running=running)
    link.abort()
    await running
    assert link.over.done()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_go_when_there_are_some_and_come_to_the_owner(made):
    made.owner.frames = [b"one", b"two"]
    made.clock.advance(5.0)
    made.link.wake()
    made.link.wake()
    made.socket.come(b"back")
    await settle()
    assert made.socket.sent == [b"one", b"two"]
    assert made.owner.came == [b"back"]
    assert made.link.heard_ns == made.clock.now_ns()


async def test_a_writer_that_waits_for_room_does_not_stop_the_reader(made):
    made.socket.room.clear()
    made.owner.frames = [b"stuck"]
    made.link.wake()
    await settle()
    made.socket.come(b"life")
    await settle()
    assert made.owner.came == [b"life"]


async def test_what_is_urgent_goes_before_what_waits(made):
    made.owner.frames = [b"x" * (LARGE_BYTES + 1), b"bulk"]
    made.link.wake()
    await asyncio.sleep(0)
    made.owner.frames.insert(0, b"urgent")
    await settle()
    assert made.socket.sent[1:] == [b"urgent", b"bulk"]


async def test_the_last_frames_go_out_and_the_owner_is_left_alone(made):
    made.link.finish([b"rest", b"goodbye"])
    made.socket.come(b"late")
    await made.running
    assert made.socket.sent == [b"rest", b"goodbye"]
    assert made.socket.closed
    assert made.owner.came == []


async def test_a_link_that_breaks_in_writing_is_over(made):
    made.socket.broken = True
    made.owner.frames = [b"lost"]
    made.link.wake()
    await asyncio.wait_for(made.running, 5)


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (WSMsgType.TEXT, "hello", "a text came instead of a frame"),
        (WSMsgType.ERROR, WebSocketError(1009, "Message size 9 exceeds limit 4"), "exceeds limit"),
    ],
)
async def test_what_is_no_frame_is_refused_by_name(made, kind, data, reason):
    made.socket.come(data, kind)
    await made.running
    assert reason in made.owner.refused[0]


async def test_a_link_that_is_not_wanted_is_over_without_running():
    socket = FakeSocket()
    link = Link(socket, socket.abort, FakeOwner(), FakeClock())
    link.abandon()
    assert link.over.done()


async def test_an_abort_ends_a_frame_that_nobody_takes():
    socket, owner = FakeSocket(), FakeOwner()
    socket.room.clear()  # as a POST that is never answered: cutting the stream of events does not end it
    link = Link(socket, lambda: socket.coming.put_nowait(CLOSED), owner, FakeClock())
    running = asyncio.create_task(link.run())
    link.finish([b"last"])
    await settle()
    assert not running.done()
    link.abort()
    await asyncio.wait_for(running, 5)
    assert (socket.sent, socket.closed, link.over.done()) == ([], False, True)
