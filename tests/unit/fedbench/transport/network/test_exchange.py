"""Two exchanges joined by a link that is cut: every message once and in order, every receipt with its end."""

from __future__ import annotations

import contextlib
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec import heads, wire
from fedbench.errors import ConnectionBroken, Overloaded, RemoteProtocolError
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP
from fedbench.transport.inbox import Limits
from fedbench.transport.network.exchange import Came, Exchange, Goodbye
from fedbench.transport.network.reports import TakenMessage
from fedbench.transport.network.session import NO_BULK, Bulk, Item, Lane
from fedbench.transport.receipt import Ledger, Outcome, Receipt
from tests.fakes.frames import decode_frame, encode_frame, told

KINDS = {Lane.CONTROL: Kind.HEARTBEAT, Lane.BUSINESS: Kind.CLIENT_NOTIFY}


class End:
    def __init__(self, limits=None):
        limits = limits or Limits(1000)
        self.exchange = Exchange("peer", 1, limits, HEAP)
        self.ledger = Ledger()
        self.sent = {lane: [] for lane in KINDS}
        self.got = {lane: [] for lane in KINDS}
        self.receipts = []
        self.running = []

    def send(self, lane, body="", model=None):
        number = len(self.sent[lane])
        message = Message(KINDS[lane], "a", "b", str(number), body, model)
        head, parts = heads.encode(message, body)
        receipt = Receipt(self.ledger)
        self.exchange.add(lane, Item(head, Bulk(*parts) if parts else NO_BULK, 1, receipt))
        self.sent[lane].append((str(number), body, model))
        self.receipts.append(receipt)

    def take(self, frame):
        came = self.exchange.take(memoryview(frame))
        if isinstance(came, Came):
            message = came.arrived.message("b", "a", 1)
            self.got[came.lane].append((message.method, message.body, message.tensors))
            delivery = TakenMessage("b", self.exchange.taken, self.tell)
            if message.body == "runs on":
                self.running.append(delivery)
            else:
                delivery.apply(ValueError("odd") if message.body == "fails" else None)
            delivery.taken(came.lane, came.number)
            self.tell()
        return came

    def tell(self):
        self.exchange.urgent = True

    def finish(self):
        if self.running:
            self.running.pop().apply()


class Link:
    def __init__(self):
        self.ends = End(), End()
        self.ways = deque(), deque()

    def write(self, side):
        frame = self.ends[side].exchange.next_frame()
        if frame is not None:
            self.ways[side].append(b"".join(frame))
        return frame is not None

    def read(self, side):
        if self.ways[1 - side]:
            self.ends[side].take(self.ways[1 - side].popleft())
            return True
        return False

    def cut(self, _=None):
        for way in self.ways:
            way.clear()
        positions = [end.exchange.position for end in self.ends]
        for end, position in zip(self.ends, reversed(positions), strict=True):
            end.exchange.resume(position)
            end.tell()

    def finish(self, side):
        self.ends[side].finish()

    def drain(self):
        while any([self.write(0), self.write(1), self.read(0), self.read(1)]):
            pass


MODEL = ModelState.from_arrays({"w": np.arange(200_000.0)}, 3)
steps = st.one_of(
    st.tuples(
        st.just("send"),
        st.integers(0, 1),
        st.sampled_from(list(KINDS)),
        st.sampled_from(["fine", "fails", "runs on", "x" * 40_000, "model"]),
    ),
    st.tuples(st.sampled_from(["write", "read", "write", "read", "finish", "cut"]), st.integers(0, 1)),
)


@given(st.lists(steps, max_size=60))
def test_everything_comes_once_and_every_receipt_has_its_end(history):
    link = Link()
    for what, side, *of in history:
        if what == "send":
            lane, body = of
            link.ends[side].send(lane, body, MODEL if body == "model" else None)
        else:
            getattr(link, what)(side)
        assert all(end.ledger.balanced() for end in link.ends)
    link.cut()
    link.drain()
    for end in link.ends:
        while end.running:
            end.finish()
    for _ in range(2):  # a failure holds totals back until its news are acknowledged
        link.drain()
        for end in link.ends:
            end.tell()
    link.drain()
    for end, peer in (link.ends, link.ends[::-1]):
        assert peer.got == end.sent
        assert all(receipt.outcome is Outcome.ACKED and receipt.handled for receipt in end.receipts)
        failed = [receipt for receipt in end.receipts if receipt._handler_error is not None]
        bodies = [body for lane in KINDS for _, body, _ in end.sent[lane]]
        assert len(failed) == bodies.count("fails")
        assert end.ledger.in_flight == end.ledger.running == 0
        assert not end.exchange.pending
        assert end.exchange.next_frame() is None


def test_control_overtakes_a_model():
    link = Link()
    link.ends[0].send(Lane.BUSINESS, "", MODEL)
    for _ in range(3):
        link.write(0)
    link.ends[0].send(Lane.CONTROL)
    link.write(0)
    while not link.ends[1].got[Lane.CONTROL]:
        assert link.read(1)
    assert link.ends[1].got[Lane.BUSINESS] == []
    link.drain()
    assert link.ends[1].got[Lane.BUSINESS] == [("0", "", MODEL)]


def test_a_goodbye_comes_behind_what_waited():
    link = Link()
    link.ends[0].send(Lane.BUSINESS, "last words")
    for frame in link.ends[0].exchange.last_frames(": tired", 1 << 20):
        came = link.ends[1].take(b"".join(frame))
    assert came == Goodbye(": tired")
    assert link.ends[1].got[Lane.BUSINESS] == [("0", "last words", None)]


def kinds_of(end):
    """Return the types of all frames that an end has to send."""
    frames = iter(end.exchange.next_frame, None)
    return [decode_frame(b"".join(frame)).kind for frame in frames]


def test_a_beat_goes_before_a_model_and_tells_what_is_to_be_told():
    end = End()
    end.send(Lane.BUSINESS, "", MODEL)
    end.exchange.next_frame()
    end.exchange.ask = end.exchange.urgent = True
    assert kinds_of(end) == [wire.BEAT] + [wire.CHUNK] * 7


def test_a_beat_is_answered_by_one_frame_whatever_it_holds():
    for held, kind in ((False, wire.TOLD), (True, wire.HEAD)):
        end = End()
        if held:
            end.send(Lane.BUSINESS)
        for _ in range(3):
            assert end.take(encode_frame(wire.BEAT, told())) is None
        assert kinds_of(end) == [kind]
        assert end.take(encode_frame(wire.TOLD, told())) is None
        assert kinds_of(end) == []


def test_a_goodbye_does_not_wait_for_large_models():
    link = Link()
    link.ends[0].send(Lane.BUSINESS, "", MODEL)
    frames = link.ends[0].exchange.last_frames("", 300_000)
    assert sum(len(b"".join(frame)) for frame in frames) < 600_000
    assert link.ends[1].take(b"".join(frames[0])) is None
    assert link.ends[1].take(b"".join(frames[-1])) == Goodbye("")


def test_the_end_loses_what_is_not_acknowledged():
    end = End()
    end.send(Lane.BUSINESS)
    end.exchange.end(ConnectionBroken("over"))
    assert end.receipts[0].outcome is Outcome.LOST
    assert end.exchange.next_frame() is None


def test_what_is_not_acknowledged_is_bounded():
    end = End(Limits(messages=2))
    end.send(Lane.BUSINESS)
    end.send(Lane.BUSINESS)
    assert end.exchange.full
    with pytest.raises(Overloaded):
        end.exchange.add(Lane.BUSINESS, Item(b"", NO_BULK, 1, Receipt(Ledger())))
    assert str(end.exchange) == "2 messages (2 bytes)"


def test_news_that_find_no_room_wait():
    link = Link()
    link.ends[1].exchange = Exchange("peer", 1, Limits(messages=1), HEAP)
    for _ in range(20):
        link.ends[0].send(Lane.BUSINESS, "fails")
    link.drain()
    assert all(receipt._handler_error is not None for receipt in link.ends[0].receipts)


HEAD = heads.encode(Message(Kind.DATA, "a", "b"), None)[0]
BULKY = heads.encode(Message(Kind.MODEL_PUSH, "a", "b", tensors=MODEL), None)[0]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b""], "truncated"),
        ([encode_frame(wire.HEAD, told(), HEAD, lane=2, number=2)], "1 is the next"),
        ([encode_frame(wire.CHUNK, told(), b"x", lane=2, number=1)], "without a head"),
        ([encode_frame(wire.CHUNK, told(), b"x", lane=1, number=1)], "in chunks"),
        ([encode_frame(wire.HEAD, told(), b"x", lane=1, number=1)], "news cannot be read"),
        ([encode_frame(wire.HEAD, told(), b"x", lane=2, number=1)], "truncated"),
        ([encode_frame(wire.HEAD, told(), BULKY, lane=2, number=1)] * 2, "in the middle of a bulk"),
        ([encode_frame(wire.TOLD, told((1, 0, 0)))], "are acknowledged"),
        ([encode_frame(wire.TOLD, told(control=1))], "are reported as applied"),
        ([encode_frame(wire.TOLD, told(consumed=1))], "are reported as received"),
        ([encode_frame(wire.BEAT, told((1, 0, 0)))], "are acknowledged"),
        ([encode_frame(wire.BEAT, told()) + b"x"], "a BEAT of 1 bytes is oversized"),
        ([encode_frame(wire.BEAT, told(), number=1)], "a BEAT of 0 bytes with number 1 means nothing"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_told_how(frames, reason):
    end = End()
    for frame in frames[:-1]:
        end.take(frame)
    with pytest.raises(RemoteProtocolError, match=reason):
        end.take(frames[-1])


@given(st.binary(min_size=wire.HEADER_BYTES, max_size=wire.HEADER_BYTES + 80), st.integers(1, 5))
def test_noise_is_refused_by_name(noise, kind):
    with contextlib.suppress(RemoteProtocolError):
        End().take(bytes((wire.MAGIC, kind)) + noise[2:])
