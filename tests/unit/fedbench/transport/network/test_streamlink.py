from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from fedbench.errors import RemoteProtocolError
from fedbench.transport.network.link import LARGE_BYTES
from fedbench.transport.network.streamlink import StreamLink
from tests.fakes.clock import FakeClock
from tests.fakes.frames import FakeOwner
from tests.pace import limit_s


class FakeStream:
    def __init__(self):
        self.coming = asyncio.Queue()
        self.sent = []
        self.closed = False
        self.broken = False
        self.room = asyncio.Event()
        self.room.set()

    async def receive(self):
        came = await self.coming.get()
        if isinstance(came, Exception):
            raise came
        return came

    async def send(self, frame):
        if self.broken:
            raise ConnectionResetError("gone")
        await self.room.wait()
        self.sent.append(frame)

    async def close(self):
        self.closed = True
        self.coming.put_nowait(None)

    def abort(self):
        self.coming.put_nowait(None)


@pytest.fixture
async def made():
    stream, owner, clock = FakeStream(), FakeOwner(), FakeClock()
    link = StreamLink(stream, owner, clock)
    link.run()
    link.run()
    await asyncio.sleep(0)
    yield SimpleNamespace(stream=stream, owner=owner, link=link, clock=clock)
    link.abort()
    await asyncio.wait_for(link.over, limit_s(5))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_go_when_there_are_some_and_come_to_the_owner(made):
    made.owner.frames = [(b"o", b"ne"), (b"two",)]
    made.clock.advance(5.0)
    made.link.wake()
    made.link.wake()
    made.stream.coming.put_nowait(b"back")
    await settle()
    assert made.stream.sent == [b"one", b"two"]
    assert made.owner.came == [b"back"]
    assert made.link.heard_ns == made.clock.now_ns()


async def test_a_writer_that_waits_for_room_does_not_stop_the_reader(made):
    made.stream.room.clear()
    made.owner.frames = [(b"stuck",)]
    made.link.wake()
    await settle()
    made.stream.coming.put_nowait(b"life")
    await settle()
    assert made.owner.came == [b"life"]


async def test_what_is_urgent_goes_before_what_waits(made):
    made.owner.frames = [(b"x" * (LARGE_BYTES + 1),), (b"bulk",)]
    made.link.wake()
    await asyncio.sleep(0)
    made.owner.frames.insert(0, (b"urgent",))
    await settle()
    assert made.stream.sent[1:] == [b"urgent", b"bulk"]


async def test_the_last_frames_go_out_and_the_owner_is_left_alone(made):
    made.link.finish([(b"rest",), (b"good", b"bye")])
    made.stream.coming.put_nowait(b"late")
    await asyncio.wait_for(made.link.over, limit_s(5))
    assert made.stream.sent == [b"rest", b"goodbye"]
    assert made.stream.closed
    assert made.owner.came == []


async def test_a_link_that_breaks_in_writing_is_over(made):
    made.stream.broken = True
    made.owner.frames = [(b"lost",)]
    made.link.wake()
    await asyncio.wait_for(made.link.over, limit_s(5))


async def test_what_is_no_frame_is_refused_by_name(made):
    made.stream.coming.put_nowait(RemoteProtocolError("an event is no frame"))
    await asyncio.wait_for(made.link.over, limit_s(5))
    assert made.owner.refused == ["an event is no frame"]


async def test_a_link_that_is_not_wanted_is_over_without_running():
    link = StreamLink(FakeStream(), FakeOwner(), FakeClock())
    link.abort()
    assert link.over.done()


async def test_an_abort_ends_a_frame_that_nobody_takes():
    stream = FakeStream()
    stream.room.clear()  # as a POST that is never answered: cutting the stream of events does not end it
    link = StreamLink(stream, FakeOwner(), FakeClock())
    link.finish([(b"last",)])
    await settle()
    assert not link.over.done()
    link.abort()
    await asyncio.wait_for(link.over, limit_s(5))
    assert (stream.sent, stream.closed) == ([], False)
