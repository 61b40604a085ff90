"""Writer: as few writes as the kernel takes whole, nothing lost when the pipe is full."""

from __future__ import annotations

import asyncio
import fcntl
import os

import pytest

from fedbench.codec.frames import FrameReader, FrameType
from fedbench.messages import Channel
from fedbench.transport.inbox import Limits
from fedbench.transport.process.acks import Outstanding, Released, Taken, decode_notes
from fedbench.transport.process.outbox import Waiting
from fedbench.transport.process.writer import Writer
from fedbench.transport.receipt import Ledger, Receipt


class Queue:
    """A pipe with a writer at one end; its writes arrive one a packet, so that they can be counted."""

    def __init__(self, limits=None):
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
        self.taken, self.outstanding, self.ledger = Taken(), Outstanding("peer"), Ledger()
        self.rooms = self.broken = 0
        self.writer = Writer(
            self.write_fd, limits or Limits(), self.taken, self.outstanding, self._room, self._broken
        )

    def send(self, payload, *, hold=False, channel=Channel.BUSINESS):
        receipt = Receipt(self.ledger)
        self.writer.send(channel, Waiting(payload, receipt, (), False, len(payload)), hold=hold)
        return receipt

    def writes(self):
        """Return the frames of each write so far, as lists of type and payload."""
        found = []
        while True:
            try:
                data = os.read(self.read_fd, 1 << 16)
            except BlockingIOError:
                return found
            found.append([(FrameType(kind), bytes(payload)) for kind, _, payload in FrameReader().feed(data)])

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


async def test_a_message_is_written_at_once(queue):
    queue.send(b"a")
    assert queue.writes() == [[(FrameType.MESSAGE, b"a")]]


async def test_what_is_held_goes_with_what_follows_in_one_write(queue):
    queue.send(b"model", hold=True)
    assert queue.writes() == []
    queue.send(b"call")
    assert queue.writes() == [[(FrameType.MESSAGE, b"model"), (FrameType.MESSAGE, b"call")]]
    await asyncio.sleep(0)
    assert queue.writes() == []


async def test_what_is_held_and_stays_alone_goes_at_the_end_of_the_pass(queue):
    queue.send(b"model", hold=True)
    queue.send(b"another", hold=True)
    await asyncio.sleep(0)
    assert queue.writes() == [[(FrameType.MESSAGE, b"model"), (FrameType.MESSAGE, b"another")]]


async def test_a_control_message_overtakes_what_is_held(queue):
    queue.send(b"model", hold=True)
    queue.send(b"beat", channel=Channel.CONTROL)
    assert queue.writes() == [[(FrameType.MESSAGE, b"beat"), (FrameType.MESSAGE, b"model")]]


async def test_notes_go_before_the_messages_of_the_same_write(queue):
    queue.taken.take(applied=False)
    queue.taken.release(Released("fb-0-1-1-1", 0, 1, 1))
    queue.send(b"model", hold=True)
    queue.send(b"call")
    ((notes, model, call),) = queue.writes()
    assert decode_notes(notes[1]).running == [1]
    assert (notes[0], model[1], call[1]) == (FrameType.NOTES, b"model", b"call")
    assert not queue.taken.pending


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


async def test_what_was_never_written_is_returned_at_the_end():
    queue = Queue()
    queue.send(b"held", hold=True)
    assert [waiting.payload for waiting in queue.writer.close()] == [b"held"]
    await asyncio.sleep(0)
    assert queue.writes() == []
    queue.close()


async def test_a_goodbye_comes_after_what_is_held(queue):
    queue.send(b"held", hold=True)
    queue.writer.say_goodbye(": enough")
    assert queue.writes() == [[(FrameType.MESSAGE, b"held")], [(FrameType.GOODBYE, b": enough")]]


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
