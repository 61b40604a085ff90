"""The link of a WebSocket, over real sockets of this process."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from fedbench.codec.websocket import CLOSE_NORMAL, Deframer, Opcode, apply_mask, encode_header
from fedbench.codec.wire import CHUNK_BYTES, MAX_FRAME_BYTES
from fedbench.errors import RemoteProtocolError
from fedbench.loop import in_thread
from fedbench.transport.network import websocket
from fedbench.transport.network.link import LARGE_BYTES
from fedbench.transport.network.websocket import WebSocketLink, accept_headers, upgrade_headers
from tests.fakes.clock import FakeClock
from tests.fakes.frames import FakeOwner
from tests.pace import limit_s

MASK = b"abcd"


class Peer:
    """The other end, by hand."""

    def __init__(self, reader, writer, *, client):
        self.reader, self.writer, self.client = reader, writer, client
        self.deframer = Deframer(masked=not client, most_bytes=MAX_FRAME_BYTES)
        self.got = []

    def send(self, opcode, payload):
        data = bytearray(payload)
        mask = MASK if self.client else b""
        if mask:
            apply_mask(memoryview(data), mask)
        self.writer.write(encode_header(opcode, len(payload), mask) + data)

    async def receive(self):
        while not self.got:
            data = await asyncio.wait_for(self.reader.read(1 << 16), limit_s(5))
            if not data:
                return None
            came = self.deframer.feed(memoryview(bytearray(data)))
            self.got += [(opcode, bytes(payload)) for opcode, payload in came]
        return self.got.pop(0)


@contextlib.asynccontextmanager
async def linked(*, client=False, came=b""):
    """A link, and by hand what is at its other end."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()
    server = await asyncio.start_server(lambda *streams: accepted.set_result(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    transport.pause_reading()
    owner, clock = FakeOwner(), FakeClock()
    upgraded = SimpleNamespace(transport=transport, came=came)
    link = WebSocketLink(upgraded, owner, clock, client=client)
    peer = Peer(*await accepted, client=not client)
    try:
        yield SimpleNamespace(link=link, owner=owner, clock=clock, peer=peer, transport=transport)
    finally:
        link.abort()
        await asyncio.wait_for(link.over, limit_s(5))
        peer.writer.close()
        server.close()
        await server.wait_closed()


async def until(true):
    async with asyncio.timeout(limit_s(5)):
        while not true():
            await asyncio.sleep(0)


@pytest.mark.parametrize("client", [True, False])
async def test_frames_of_any_size_go_both_ways(client):
    async with linked(client=client) as end:
        sizes = (1, 125, 126, 511, 513, 1 << 16, LARGE_BYTES + 1, CHUNK_BYTES + 60)
        end.owner.frames = [(b"head", b"x" * size) for size in sizes]
        end.link.run()
        end.link.run()
        assert [await end.peer.receive() for _ in sizes] == [
            (Opcode.BINARY, b"head" + b"x" * size) for size in sizes
        ]
        end.clock.advance(5.0)
        for size in sizes:
            end.peer.send(Opcode.BINARY, b"y" * size)
        await until(lambda: len(end.owner.came) == len(sizes))
        assert end.owner.came == [b"y" * size for size in sizes]
        assert end.link.heard_ns == end.clock.now_ns()


async def test_what_came_with_the_answer_comes_first():
    early = encode_header(Opcode.BINARY, 5) + b"early" + encode_header(Opcode.BINARY, 4) + b"la"
    async with linked(client=True, came=early) as end:
        end.link.run()
        end.peer.writer.write(b"te")
        await until(lambda: len(end.owner.came) == 2)
        assert end.owner.came == [b"early", b"late"]


async def test_what_came_with_the_answer_is_taken_once_even_if_it_ends_the_connection():
    early = encode_header(Opcode.BINARY, 4) + b"last" + encode_header(Opcode.BINARY, 9) + b"half"
    async with linked(client=True, came=early) as end:

        def leave(link, data):
            end.owner.came.append(bytes(data))
            link.finish([(b"goodbye",)])

        end.owner.frame_came = leave
        end.link.run()
        assert await end.peer.receive() == (Opcode.BINARY, b"goodbye")
        assert await end.peer.receive() == (Opcode.CLOSE, CLOSE_NORMAL)
        assert end.owner.came == [b"last"]
        end.peer.writer.write(b" more")
        end.peer.send(Opcode.CLOSE, CLOSE_NORMAL)
        async with asyncio.timeout(0.5):  # it is read in order: the link is not cut for want of an answer
            await end.link.over


async def test_nothing_is_read_or_written_before_it_runs():
    async with linked() as end:
        end.owner.frames = [(b"x",)]
        end.link.wake()
        end.peer.send(Opcode.BINARY, b"y")
        await asyncio.sleep(0.05)  # for what must not come
        assert (end.owner.came, len(end.owner.frames)) == ([], 1)


async def test_what_is_flushed_goes_before_anything_else_runs():
    async with linked() as end:
        end.owner.frames = [(b"early",)]
        end.link.flush()
        assert end.owner.frames  # it does not run yet
        end.link.run()
        assert await end.peer.receive() == (Opcode.BINARY, b"early")
        end.owner.frames = [(b"one",), (b"two",)]
        end.link.flush()
        assert not end.owner.frames
        assert [await end.peer.receive() for _ in range(2)] == [
            (Opcode.BINARY, b"one"),
            (Opcode.BINARY, b"two"),
        ]


@pytest.mark.parametrize("verb", ["flush", "wake"])
async def test_what_is_sent_while_something_is_taken_goes_when_all_of_it_was_taken(verb):
    async with linked() as end:
        left = []

        def answer(link, data):
            end.owner.frames = [(b"answer to " + bytes(data),)]  # takes the place of the one before
            getattr(link, verb)()
            left.append(len(end.owner.frames))

        end.owner.frame_came = answer
        end.link.run()
        await asyncio.sleep(0)
        both = bytearray(encode_header(Opcode.BINARY, 1, bytes(4)) + b"1")
        end.peer.writer.write(both + encode_header(Opcode.BINARY, 1, bytes(4)) + b"2")
        assert await end.peer.receive() == (Opcode.BINARY, b"answer to 2")
        assert left == [1, 1]
        assert not end.owner.frames


async def test_what_is_urgent_goes_before_what_waits_for_room():
    async with linked() as end:
        big = b"x" * CHUNK_BYTES
        end.owner.frames = [(big,)] * 200
        end.link.run()
        await until(lambda: end.link._full)
        left = len(end.owner.frames)
        assert left > 0  # the kernel holds some, and the link not all of the rest
        end.owner.frames.insert(0, (b"urgent",))
        got = [await end.peer.receive() for _ in range(200 - left + 1)]
        assert got[-1] == (Opcode.BINARY, b"urgent")


async def test_a_ping_is_answered():
    async with linked() as end:
        end.link.run()
        end.peer.send(Opcode.PING, b"how are you")
        assert await end.peer.receive() == (Opcode.PONG, b"how are you")
        end.peer.send(Opcode.PONG, b"fine")
        end.peer.send(Opcode.BINARY, b"next")
        await until(lambda: end.owner.came == [b"next"])


async def test_a_peer_that_pings_and_reads_nothing_is_not_answered_without_bound():
    async with linked() as end:
        end.owner.frames = [(b"x" * CHUNK_BYTES,)] * 200
        end.link.run()
        await until(lambda: end.link._full)
        waiting = end.transport.get_write_buffer_size()
        for _ in range(1000):
            end.peer.send(Opcode.PING, bytes(125))
        end.peer.send(Opcode.BINARY, b"behind")
        await until(lambda: end.owner.came == [b"behind"])
        assert end.transport.get_write_buffer_size() <= waiting


async def test_the_last_frames_go_out_before_it_closes_and_the_owner_is_left_alone():
    async with linked() as end:
        end.link.finish([(b"rest",), (b"good", b"bye")])
        end.peer.send(Opcode.BINARY, b"late")
        got = [await end.peer.receive() for _ in range(3)]
        assert got == [(Opcode.BINARY, b"rest"), (Opcode.BINARY, b"goodbye"), (Opcode.CLOSE, CLOSE_NORMAL)]
        assert not end.link.over.done()
        end.peer.send(Opcode.CLOSE, CLOSE_NORMAL)
        await asyncio.wait_for(end.link.over, limit_s(5))
        assert end.owner.came == []
        assert await end.peer.receive() is None


async def test_a_peer_that_does_not_close_is_cut(monkeypatch):
    monkeypatch.setattr(websocket, "CLOSE_S", 0.01)
    async with linked() as end:
        end.link.finish([])
        await asyncio.wait_for(end.link.over, limit_s(5))


async def test_a_close_is_answered_and_ends_it():
    async with linked() as end:
        end.link.run()
        end.peer.send(Opcode.CLOSE, CLOSE_NORMAL)
        assert await end.peer.receive() == (Opcode.CLOSE, CLOSE_NORMAL)
        await asyncio.wait_for(end.link.over, limit_s(5))


async def test_a_peer_that_hangs_up_ends_it():
    async with linked() as end:
        end.link.run()
        end.peer.writer.write(encode_header(Opcode.BINARY, 100, MASK) + b"half of it")
        end.peer.writer.close()
        await asyncio.wait_for(end.link.over, limit_s(5))
        assert end.owner.came == []
        end.link.wake()
        end.link.finish([(b"late",)])


@pytest.mark.parametrize(
    ("opcode", "payload", "reason"),
    [
        (Opcode.TEXT, b"hello", "a text came instead"),
        (Opcode.BINARY, bytes(MAX_FRAME_BYTES + 1), "oversized"),
    ],
)
async def test_what_is_no_frame_is_refused_by_name_and_nothing_behind_it_is_read(opcode, payload, reason):
    async with linked() as end:
        end.link.run()
        end.peer.send(opcode, payload)
        end.peer.send(Opcode.BINARY, b"behind")
        await until(lambda: end.owner.refused)
        await asyncio.sleep(0.02)  # for what must not come
        assert reason in end.owner.refused[0]
        assert (len(end.owner.refused), end.owner.came) == (1, [])


@pytest.mark.parametrize("wrong", ["Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_who_asks_for_no_websocket_is_granted_none(wrong):
    asked = upgrade_headers()
    assert accept_headers(asked)["Upgrade"] == "websocket"
    with pytest.raises(RemoteProtocolError, match="no WebSocket of version 13"):
        accept_headers({**asked, wrong: "other"})


def test_the_example_of_the_standard_is_granted():
    asked = {**upgrade_headers(), "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert accept_headers(asked)["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3


def test_masks_are_drawn_anew():
    drawn = [next(websocket._of_thread.masks) for _ in range(3000)]
    assert len(set(drawn)) > 2990


@pytest.mark.parametrize("verb", ["flush", "wake"])
async def test_nothing_goes_while_something_is_taken_even_if_more_was_to_go_in_this_turn(verb):
    async with linked() as end:
        left = []

        def answer(link, data):
            end.owner.frames = [(b"answer to " + bytes(data),)]
            getattr(link, verb)()
            left.append(len(end.owner.frames))

        end.owner.frame_came = answer
        end.link.run()
        await asyncio.sleep(0)
        both = bytearray(encode_header(Opcode.BINARY, 1, bytes(4)) + b"1")
        both += encode_header(Opcode.BINARY, 1, bytes(4)) + b"2"
        end.link.wake()  # another node's handler has returned, say: its turn comes behind this read
        end.link.get_buffer(-1)[: len(both)] = both
        end.link.buffer_updated(len(both))
        assert left == [1, 1]
        assert await end.peer.receive() == (Opcode.BINARY, b"answer to 2")
        assert not end.owner.frames


async def test_loops_of_several_threads_receive_into_memory_of_their_own():
    async def scratch():
        async with linked() as end:
            return end.link.get_buffer(-1)

    here = await scratch()
    there = await in_thread(asyncio.run, scratch())
    assert here is await scratch()
    there[:4], here[:4] = b"them", b"this"
    assert bytes(there[:4]) == b"them"
