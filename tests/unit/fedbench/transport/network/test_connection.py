from __future__ import annotations

import asyncio
import itertools
import logging

import numpy as np
import pytest

from fedbench.codec import wire
from fedbench.errors import ConnectionBroken, ConnectionClosed, Overloaded, PeerLost, RemoteProtocolError
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP
from fedbench.throttle import Throttle
from fedbench.transport.inbox import Limits
from fedbench.transport.network.connection import Host, Meeting, NetworkConnection
from fedbench.transport.network.encoding import Encoder
from fedbench.transport.network.liveness import Lazily, Pacemaker, Watchdog
from fedbench.transport.network.session import Position
from fedbench.transport.receipt import Outcome
from tests.fakes.clock import FakeClock
from tests.fakes.frames import decode_frame, encode_frame, told
from tests.pace import limit_s

WINDOW_S = 60.0
HEARTBEAT_S = 30.0


class FakeLink:
    """A link that a test carries frames over by hand."""

    def __init__(self, connection):
        self.connection = connection
        self.heard_ns = 0
        self.cut = False
        self.last = None

    def wake(self):
        pass

    flush = wake

    def abort(self):
        self.cut = True

    def finish(self, last):
        self.last = list(last)


class Pair:
    def __init__(self, limits=None):
        self.clock = FakeClock()
        self.host = Host(
            self.clock,
            HEAP,
            Lazily(self.clock),
            Encoder(),
            Throttle(logging.getLogger("fedbench.transport"), self.clock),
        )
        meeting = Meeting(1, b"secret", 0, HEARTBEAT_S, WINDOW_S)
        self.near = NetworkConnection("alice", "server", limits or Limits(), meeting, self.host)
        self.far = NetworkConnection("server", "alice", limits or Limits(), meeting, self.host)
        self.got = []
        for end in (self.near, self.far):
            end.receiver = self.receive
            end.start()
        self.join()

    def receive(self, message, delivery):
        self.got.append(message)
        delivery.apply()

    def join(self):
        self.links = []
        for end in (self.near, self.far):
            link = FakeLink(end)
            end.attach(link)
            self.links.append(link)

    def resume(self):
        positions = self.near.position, self.far.position
        tickets = self.near.resume(positions[1]), self.far.resume(positions[0])
        assert self.near.awaits(tickets[0])
        self.join()

    def carry(self, most=10_000):
        """Carry frames both ways until none is left, or so many have been carried."""
        ends = (self.near, self.far)
        for _ in range(most):
            busy = False
            for side in (0, 1):
                frame = ends[side].next_frame()
                if frame is not None:
                    ends[1 - side].frame_came(self.links[1 - side], memoryview(b"".join(frame)))
                    busy = True
            if not busy:
                return


def note(body=None, tensors=None, kind=Kind.CLIENT_NOTIFY):
    return Message(kind, "alice", "server", "note", body, tensors)


MODEL = ModelState.from_arrays({"w": np.arange(300_000.0)}, 2)


async def test_its_session_makes_it_lossless_and_silence_is_not_death():
    assert NetworkConnection.lossless
    assert not NetworkConnection.reports_death


async def test_a_message_arrives_and_its_receipt_is_settled():
    pair = Pair()
    receipt = pair.near.send(note([1, "two"], MODEL))
    pair.carry()
    await receipt.applied
    assert [(m.source, m.target, m.body, m.tensors) for m in pair.got] == [
        ("alice", "server", [1, "two"], MODEL)
    ]
    assert pair.near.ledger.balanced()


async def test_a_link_that_is_cut_in_the_middle_of_a_model_loses_nothing():
    pair = Pair()
    receipts = [pair.near.send(note(n, MODEL)) for n in range(3)]
    for _ in range(6):
        pair.carry(most=4)
        pair.resume()
        pair.near.send(note("between"))
    pair.carry()
    assert [m.body for m in pair.got] == [0, 1, 2] + ["between"] * 6
    assert all(receipt.outcome is Outcome.ACKED for receipt in receipts)
    assert pair.near.ledger.balanced()


async def test_within_the_window_nothing_ends_and_after_it_the_peer_is_lost():
    pair = Pair()
    receipt = pair.near.send(note())
    pair.near.detach()
    pair.clock.advance(WINDOW_S - 1)
    pair.near.resume(Position())
    pair.near.attach(FakeLink(pair.near))
    pair.clock.advance(WINDOW_S * 2)
    assert not pair.near.closed
    pair.near.detach()
    pair.clock.advance(WINDOW_S)
    with pytest.raises(PeerLost, match="lost server: no link for 60 s"):
        pair.near.send(note())
    assert receipt.outcome is Outcome.LOST
    assert pair.clock.pending == 0 or pair.far.linked


async def test_trying_again_without_a_link_does_not_lengthen_the_window():
    pair = Pair()
    pair.near.detach()
    for _ in range(6):
        pair.clock.advance(WINDOW_S / 6)
        if not pair.near.closed:
            pair.near.resume(Position())
    assert pair.near.closed


async def test_only_the_latest_link_is_listened_to():
    pair = Pair()
    old = pair.links[0]
    ticket = pair.near.resume(Position())
    later = pair.near.resume(Position())
    assert (pair.near.awaits(ticket), pair.near.awaits(later), old.cut) == (False, True, True)
    pair.join()
    pair.near.frame_came(old, memoryview(b"junk"))
    pair.near.frame_refused(old, "junk")
    pair.near.detach(old)
    assert pair.near.linked
    assert not pair.near.closed


async def test_closing_sends_the_rest_and_a_goodbye():
    pair = Pair()
    receipt = pair.near.send(note("last"))
    pair.near.close()
    assert receipt.outcome is Outcome.LOST
    for frame in pair.links[0].last:
        pair.far.frame_came(pair.links[1], memoryview(b"".join(frame)))
    assert [m.body for m in pair.got] == ["last"]
    with pytest.raises(ConnectionBroken, match="alice closed its connection to server"):
        pair.far.send(Message(Kind.DATA, "server", "alice"))
    assert pair.links[1].last == []


@pytest.mark.parametrize("fails", [False, True])
async def test_a_message_whose_handler_closes_the_connection_is_not_told_as_applied(fails, caplog):
    pair = Pair()
    before = pair.near.send(note("before"))

    def leave(message, delivery):
        if message.body == "last":
            pair.far.close()
            if fails:
                raise ValueError("too late to be told")  # else it goes on in a task, say
        else:
            delivery.apply()

    pair.far.receiver = leave
    last = pair.near.send(note("last"))
    for frame in (pair.near.next_frame(), pair.near.next_frame()):
        pair.far.frame_came(pair.links[1], memoryview(b"".join(frame)))
    for frame in pair.links[1].last:
        pair.near.frame_came(pair.links[0], memoryview(b"".join(frame)))
    assert [before.outcome, last.outcome] == [Outcome.ACKED, Outcome.ACKED]
    await before.applied
    with pytest.raises(ConnectionBroken, match="server closed its connection to alice"):
        await last.applied
    assert pair.near.ledger.balanced()


async def test_a_peer_that_breaks_the_protocol_is_told_and_cut_off(caplog):
    pair = Pair()
    pair.far.frame_came(pair.links[1], memoryview(b"junk"))
    with pytest.raises(ConnectionBroken, match="alice broke the protocol: a frame of 4 bytes is truncated"):
        pair.far.send(Message(Kind.DATA, "server", "alice"))
    pair.near.frame_came(pair.links[0], memoryview(b"".join(pair.links[1].last[-1])))
    with pytest.raises(ConnectionBroken, match="truncated"):
        pair.near.send(note())
    assert "truncated" in caplog.text
    pair = Pair()
    pair.far.frame_refused(pair.links[1], "a text came")
    assert pair.far.closed
    with pytest.raises(RemoteProtocolError):
        pair.near.resume(Position((9, 9, 9)))


async def test_a_crash_and_a_death_that_is_known_end_at_once():
    pair = Pair()
    pair.near.abort("killed")
    pair.far.lose("its process ended")
    assert all(link.cut for link in pair.links)
    with pytest.raises(ConnectionClosed, match="killed"):
        pair.near.send(note())
    with pytest.raises(PeerLost, match="its process ended"):
        pair.far.send(Message(Kind.DATA, "server", "alice"))
    pair.near.abort()


async def test_calls_are_acknowledged_by_what_follows_and_at_last_by_themselves():
    pair = Pair()
    calls = []
    pair.carry()
    pair.far.owners = {Kind.RPC_REQUEST: calls.append}
    receipt = pair.near.send(note(kind=Kind.RPC_REQUEST))
    pair.carry()
    assert len(calls) == 1
    assert receipt.outcome is Outcome.IN_FLIGHT
    pair.clock.advance(1.0)
    pair.carry()
    await receipt.applied
    large = pair.near.send(note(tensors=MODEL, kind=Kind.RPC_REQUEST))
    pair.carry()
    assert large.outcome is Outcome.ACKED


async def test_an_owner_that_raises_leaves_a_warning(caplog):
    pair = Pair()

    def fail(message):
        raise KeyError("boom")

    pair.far.owners = {Kind.RPC_REQUEST: fail}
    pair.near.send(note(kind=Kind.RPC_REQUEST))
    pair.carry()
    assert "could not take rpc_request" in caplog.text
    assert not pair.far.closed


async def test_what_waits_without_a_link_is_bounded_and_senders_are_woken_by_its_end():
    pair = Pair(Limits(messages=2))
    pair.near.detach()
    pair.near.send(note())
    pair.near.send(note(kind=Kind.HEARTBEAT))
    with pytest.raises(Overloaded, match="let it catch up first"):
        pair.near.send(note(kind=Kind.DATA))
    waiting = asyncio.create_task(pair.near.writable())
    await asyncio.sleep(0)
    pair.near.close()
    await asyncio.wait_for(waiting, limit_s(5))


def frame_of(end):
    """Return the next frame of an end, and its type; the type is 0 if there is none."""
    frame = b"".join(end.next_frame() or ())
    return memoryview(frame), decode_frame(frame).kind if frame else 0


async def test_a_beat_is_answered_once_and_the_answer_never():
    pair = Pair()
    pair.carry()
    assert frame_of(pair.far) == (b"", 0)
    pair.far.beat()
    beat, kind = frame_of(pair.far)
    assert (kind, frame_of(pair.far)[1]) == (wire.BEAT, 0)
    pair.near.frame_came(pair.links[0], beat)
    answer, kind = frame_of(pair.near)
    assert (kind, frame_of(pair.near)[1]) == (wire.TOLD, 0)
    pair.far.frame_came(pair.links[1], answer)
    assert (frame_of(pair.far)[1], frame_of(pair.near)[1]) == (0, 0)


async def test_a_beat_without_a_link_is_nothing():
    pair = Pair()
    pair.far.detach()
    pair.far.beat()
    assert not pair.far.linked


async def test_a_connection_is_watched_while_it_has_a_link():
    pair = Pair()
    pair.carry()
    server, client = Pacemaker(pair.clock, HEARTBEAT_S), Watchdog(pair.clock)
    for end, liveness in ((pair.far, server), (pair.near, client)):
        end.detach()
        link = FakeLink(end)
        link.heard_ns = pair.clock.now_ns()
        end.attach(link, liveness)
        assert (len(liveness), pair.clock.pending) == (1, 1 + (end is pair.near))
    pair.far.detach()
    assert len(server) == 0
    pair.near.close()
    assert len(client) == 0
    assert pair.clock.pending == 1  # the window


async def test_a_client_that_only_takes_says_now_and_then_that_it_lives():
    pair = Pair()
    pair.carry()
    liveness = Watchdog(pair.clock)
    for end in (pair.near, pair.far):
        end.detach()
    pair.join()
    pair.near._liveness = None
    pair.near.attach(pair.links[0], liveness)
    pair.links[0].heard_ns = pair.clock.now_ns()
    pair.carry()
    model = ModelState.from_arrays({"w": np.zeros(40 * wire.CHUNK_BYTES // 8)}, 1)
    pair.far.send(Message(Kind.MODEL_PUSH, "server", "alice", "model", None, model))
    said = []
    for chunk in itertools.count():
        frame, kind = frame_of(pair.far)
        if kind == 0:
            break
        pair.clock.advance(0.03 * HEARTBEAT_S)
        pair.links[0].heard_ns = pair.clock.now_ns()
        pair.near.frame_came(pair.links[0], frame)
        if frame_of(pair.near)[1] == wire.TOLD:
            said.append(chunk)
    assert len(said) >= 10
    assert max(later - one for one, later in itertools.pairwise(said)) == 4  # 0.12 heartbeats


async def test_times_of_another_clock_are_shifted():
    pair = Pair()
    pair.far._shift_ns = 1000
    pair.near.send(Message(Kind.DATA, "alice", "server", sent_ns=5))
    pair.carry()
    assert pair.got[0].sent_ns == 1005


async def test_a_peer_that_ignores_the_bound_of_running_handlers_is_cut_off():
    pair = Pair(Limits(messages=2))
    pair.far.receiver = lambda message, delivery: delivery.begin(1)
    pair.near._check_running = lambda message: None
    for _ in range(9):
        assert not pair.far.closed
        pair.near.send(note())
        pair.carry()
        await asyncio.sleep(0)  # handlers that return at once are told of together with the message
        pair.carry()
    with pytest.raises(ConnectionBroken, match="more was sent than handlers are allowed to work on"):
        pair.far.send(Message(Kind.DATA, "server", "alice"))


async def test_a_repeated_frame_is_dropped():
    pair = Pair()
    pair.near.send(note("once"))
    frame = b"".join(pair.near.next_frame())
    for _ in range(3):
        pair.far.frame_came(pair.links[1], frame)
    assert len(pair.got) == 1
    pair.far.frame_came(pair.links[1], memoryview(encode_frame(wire.GOODBYE, told(), b"")))
    assert pair.far.closed
