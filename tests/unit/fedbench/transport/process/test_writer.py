"""Writer: as few writes as the kernel takes whole, nothing lost when the pipe is full."""

from __future__ import annotations

import asyncio
import fcntl
import os

import pytest

from fedbench.codec.frames import FrameReader, FrameType
from fedbench.messages import Channel
from fedbench.transport.inbox import Limits
from fedbench.transport.process.acks import Outstanding, Taken, decode_notes
from fedbench.transport.process.writer import Writer
from fedbench.transport.receipt import Ledger, Receipt
from tests.pace import limit_s


class Queue:
    """A pipe with a writer at one end; its writes arrive one a packet, so that they can be counted."""

    def __init__(self, limits=None):
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
        self.taken, self.outstanding, self.ledger = Taken(), Outstanding("peer"), Ledger()
        self.rooms = self.broken = 0
        self.notes, self.leases = [], []
        self.writer = Writer(
            self.write_fd, limits or Limits(), self.taken, self.outstanding, self._room, self._broken
        )

    def send(self, payload, *, channel=Channel.BUSINESS):
        receipt = Receipt(self.ledger)
        self.writer.send(channel, payload, receipt, (), len(payload))
        return receipt

    def writes(self):
        """Return the frames of each write so far, as lists of type and payload."""
        found = []
        while True:
            try:
                data = os.read(self.read_fd, 1 << 16)
            except BlockingIOError:
                return found
            frames = FrameReader().feed(data)
            self.notes += [decode_notes(frame.notes) for frame in frames if frame.notes]
            self.leases += [frame.released for frame in frames if frame.released]
            found.append([(FrameType(frame.kind), frame.payload) for frame in frames])

    def close(self):
        self.writer.close()
        os.close(self.read_fd)
        os.close(self.write_fd)

    def _room(self):
        self.rooms += 1

    def _broken(self):
        self.broken += 1


@pytest.fixture
async def queue():
    made = Queue()
    yield made
    made.close()


async def written(queue):
    """Return the frames of the next write, once the loop has noticed that there is room."""
    async with asyncio.timeout(limit_s(5.0)):
        while not (writes := queue.writes()):
            await asyncio.sleep(0)
    (frames,) = writes
    return frames


async def test_a_message_is_written_at_once(queue):
    queue.send(b"a")
    assert queue.writes() == [[(FrameType.MESSAGE, b"a")]]


async def test_notes_ride_on_the_next_message(queue):
    queue.taken.take(applied=False)
    queue.taken.release([7, 8, 9])
    queue.send(b"call")
    assert queue.writes() == [[(FrameType.MESSAGE, b"call")]]
    assert (queue.leases, queue.notes[0].released, queue.notes[0].running) == ([7], [8, 9], [1])
    assert not queue.taken.pending


async def test_one_lease_needs_no_notes(queue):
    queue.taken.release([7])
    queue.send(b"call")
    assert queue.writes() == [[(FrameType.MESSAGE, b"call")]]
    assert (queue.leases, queue.notes) == ([7], [])
    assert not queue.taken.pending


async def test_notes_that_do_not_fit_go_before_the_message(queue):
    queue.taken.release(range(1, 300))
    queue.send(bytes(4000))
    *notes, message = queue.writes()
    assert [kind for ((kind, _),) in notes] == [FrameType.NOTES] * len(notes)
    assert message == [(FrameType.MESSAGE, bytes(4000))]
    told = [*queue.leases, *(lease for note in queue.notes for lease in note.released)]
    assert sorted(told) == list(range(1, 300))


async def test_what_a_full_pipe_does_not_take_is_written_when_it_has_room():
    queue = Queue(Limits(messages=20))
    try:
        fcntl.fcntl(queue.write_fd, fcntl.F_SETPIPE_SZ, 4096)
        sent = 0
        while not queue.writer.full:
            queue.send(b"%03d" % sent + bytes(3000))
            sent += 1
        arrived = []
        while len(arrived) < sent:
            arrived += [int(payload[:3]) for write in queue.writes() for _, payload in write]
            await asyncio.sleep(0)
        assert arrived == list(range(sent))
        assert not queue.writer.full
        assert queue.rooms
    finally:
        queue.close()


async def test_small_messages_that_waited_share_a_write_and_control_comes_first():
    queue = Queue()
    try:
        fcntl.fcntl(queue.write_fd, fcntl.F_SETPIPE_SZ, 4096)
        queue.send(bytes(3000))
        for number in range(3):
            queue.send(b"%d" % number)
        queue.send(b"beat", channel=Channel.CONTROL)
        assert len(queue.writes()) == 1
        together = await written(queue)
        assert [payload for _, payload in together] == [b"beat", b"0", b"1", b"2"]
    finally:
        queue.close()


async def test_what_was_never_written_is_returned_at_the_end():
    queue = Queue()
    fcntl.fcntl(queue.write_fd, fcntl.F_SETPIPE_SZ, 4096)
    queue.send(bytes(3000))
    queue.send(b"late")
    assert [waiting.payload for waiting in queue.writer.close()] == [b"late"]
    assert len(queue.writes()) == 1
    await asyncio.sleep(0)
    assert queue.writes() == []
    queue.close()


async def test_a_goodbye_is_the_last_word(queue):
    queue.taken.take(applied=True)
    queue.writer.say_goodbye(": enough")
    (notes,), (goodbye,) = queue.writes()
    assert (notes[0], goodbye) == (FrameType.NOTES, (FrameType.GOODBYE, b": enough"))


async def test_a_queue_that_nobody_reads_is_told_from_the_loop():
    queue = Queue()
    os.close(queue.read_fd)
    queue.send(b"a")
    assert queue.broken == 0
    queue.send(b"b")
    for _ in range(3):
        await asyncio.sleep(0)
    assert queue.broken == 1
    queue.writer.close()
    os.close(queue.write_fd)
