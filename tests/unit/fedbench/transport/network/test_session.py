"""Two sessions joined by a link that is cut whenever it hurts: everything comes once, in order."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import Overloaded, RemoteProtocolError
from fedbench.transport.network.session import LANES, Bulk, Item, Lane, Position, Session

CHUNK_BYTES = 4


def make(**bounds):
    return Session(1, **{"messages": 100, "nbytes": 1 << 20, "chunk_bytes": CHUNK_BYTES, **bounds})


def item(text, bulk=b"", tag=None):
    return Item(text.encode(), Bulk(memoryview(bulk)), len(text) + len(bulk), tag)


class End:
    """A session, what it has handed over, and the bulk that is coming."""

    def __init__(self) -> None:
        self.session = make()
        self.sent: dict[Lane, list[tuple[bytes, bytes]]] = {lane: [] for lane in LANES}
        self.got: dict[Lane, list[tuple[bytes, bytes]]] = {lane: [] for lane in LANES}
        self.done: list[object] = []
        self.head = b""
        self.bulk = bytearray()
        self.size = 0

    def send(self, lane, bulk):
        head = f"{lane.name} {len(self.sent[lane])} {len(bulk)}".encode()
        self.session.add(lane, Item(head, Bulk(memoryview(bulk[:5]), memoryview(bulk[5:])), len(head), head))
        self.sent[lane].append((head, bulk))

    def frame(self):
        piece = self.session.take()
        return None if piece is None else (piece, self.session.position.received)

    def take(self, frame):
        piece, acknowledged = frame
        lane, number, offset, data = piece.lane, piece.number, piece.offset, piece.data
        self.done += [done.tag for _, done in self.session.acknowledge(acknowledged)]
        if not self.session.expects(lane, number):
            return
        if lane is not Lane.BUSINESS:
            self.got[lane].append((bytes(data), b""))
            self.session.complete(lane)
            return
        if offset < 0:
            self.head, self.bulk, self.size = bytes(data), bytearray(), int(data.split()[-1])
        else:
            assert offset == len(self.bulk)
            self.bulk += data
        if len(self.bulk) == self.size:
            self.got[lane].append((self.head, bytes(self.bulk)))
            self.session.complete(lane)
        else:
            self.session.progressed(len(self.bulk))


class Link:
    """Carries frames in order; a cut drops what is on its way."""

    def __init__(self) -> None:
        self.ends = End(), End()
        self.ways: tuple[deque, deque] = deque(), deque()

    def write(self, side):
        frame = self.ends[side].frame()
        if frame is not None:
            self.ways[side].append(frame)
        return frame is not None

    def read(self, side):
        if self.ways[1 - side]:
            self.ends[side].take(self.ways[1 - side].popleft())
            return True
        return False

    def cut(self):
        one, other = self.ends
        for way in self.ways:
            way.clear()
        for end, peer in ((one, other), (other, one)):
            end.done += [done.tag for _, done in end.session.resume(peer.session.position)]

    def drain(self):
        busy = True
        while busy:
            busy = False
            for side in (0, 1):
                while self.write(side):
                    busy = True
                while self.read(side):
                    busy = True
        self.cut()  # and with it the last acknowledgements are told


sides = st.integers(0, 1)
steps = st.one_of(
    st.tuples(
        st.just("send"),
        sides,
        st.tuples(st.just(Lane.BUSINESS), st.binary(max_size=13))
        | st.tuples(st.sampled_from([Lane.CONTROL, Lane.NEWS]), st.just(b"")),
    ),
    st.tuples(st.sampled_from(["write", "read"]), sides, st.none()),
    st.tuples(st.just("cut"), sides, st.none()),
)


@given(st.lists(steps, max_size=60))
def test_everything_comes_once_and_in_order_however_the_link_is_cut(history):
    link = Link()
    for what, side, of in history:
        if what == "send":
            link.ends[side].send(*of)
        elif what == "cut":
            link.cut()
        else:
            getattr(link, what)(side)
    link.drain()
    for end, peer in (link.ends, link.ends[::-1]):
        assert peer.got == end.sent
        assert sorted(end.done) == sorted(head for lane in LANES for head, _ in end.sent[lane])
        assert end.session.end() == []
        assert end.session.take() is None


def test_control_and_news_overtake_between_the_chunks_of_a_bulk():
    session = make()
    session.add(Lane.BUSINESS, item("b", b"0123456789"))
    taken = [session.take(), session.take()]
    session.add(Lane.NEWS, item("n"))
    session.add(Lane.CONTROL, item("c"))
    taken += [session.take() for _ in range(4)]
    assert [(piece.lane.name, piece.number, piece.offset, bytes(piece.data)) for piece in taken] == [
        ("BUSINESS", 1, -1, b"b"),
        ("BUSINESS", 1, 0, b"0123"),
        ("CONTROL", 1, -1, b"c"),
        ("NEWS", 1, -1, b"n"),
        ("BUSINESS", 1, 4, b"4567"),
        ("BUSINESS", 1, 8, b"89"),
    ]
    assert session.take() is None


def test_what_is_not_acknowledged_is_bounded_in_messages_and_bytes():
    session = make(messages=2)
    session.add(Lane.CONTROL, item("one"))
    session.add(Lane.BUSINESS, item("two"))
    assert session.full
    with pytest.raises(Overloaded, match=r"2 messages \(6 bytes\) wait"):
        session.add(Lane.CONTROL, item("three"))
    session.add(Lane.NEWS, item("n"))
    session.add(Lane.NEWS, item("n"))
    with pytest.raises(Overloaded):
        session.add(Lane.NEWS, item("n"))
    session.take()
    session.acknowledge((1, 0, 0))
    assert not session.full

    session = make(nbytes=5)
    session.add(Lane.BUSINESS, item("of any size"))
    with pytest.raises(Overloaded):
        session.add(Lane.BUSINESS, item("x"))


def test_an_acknowledgement_returns_what_was_received_and_old_ones_change_nothing():
    session = make()
    assert [session.add(Lane.BUSINESS, item(text, tag=text)) for text in "abc"] == [1, 2, 3]
    for _ in range(3):
        session.take()
    assert [done.tag for _, done in session.acknowledge((0, 0, 2))] == ["a", "b"]
    assert session.acknowledge((0, 0, 1)) == []
    assert [(lane, lost.tag) for lane, lost in session.end()] == [(Lane.BUSINESS, "c")]


@pytest.mark.parametrize("received", [(1, 0, 0), (0, 0, 2), (0, 1, 1)])
def test_acknowledging_what_was_not_sent_is_refused_and_changes_nothing(received):
    session = make()
    session.add(Lane.BUSINESS, item("a"))
    session.add(Lane.CONTROL, item("not written"))
    session.add(Lane.BUSINESS, item("not whole", b"bulk"))
    session._lanes[Lane.BUSINESS].take(Lane.BUSINESS, 4)
    with pytest.raises(RemoteProtocolError, match="are acknowledged"):
        session.acknowledge(received)
    assert len(session.end()) == 3


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position((0, 0, 2)), "are acknowledged"),
        (Position((0, 0, 1), 0), "not sent"),
        (Position((0, 0, 0), 5), "not sent"),
    ],
)
def test_a_position_that_cannot_be_is_refused(position, reason):
    session = make()
    session.add(Lane.BUSINESS, item("a", b"bulk"))
    while session.take():
        pass
    with pytest.raises(RemoteProtocolError, match=reason):
        session.resume(position)


def test_a_gap_is_refused_and_a_repetition_dropped():
    session = make()
    assert session.expects(Lane.CONTROL, 1)
    session.complete(Lane.CONTROL)
    assert not session.expects(Lane.CONTROL, 1)
    assert session.expects(Lane.CONTROL, 2)
    with pytest.raises(RemoteProtocolError, match="CONTROL item 3 came, 2 is the next"):
        session.expects(Lane.CONTROL, 3)


def test_control_in_the_middle_of_a_bulk_leaves_its_progress():
    session = make()
    session.progressed(7)
    session.complete(Lane.CONTROL)
    assert session.position == Position((1, 0, 0), 7)
    session.complete(Lane.BUSINESS)
    assert session.position == Position((1, 0, 1), -1)


def test_after_a_resume_a_bulk_goes_on_where_it_was():
    session = make()
    session.add(Lane.BUSINESS, item("b", b"0123456789"))
    for _ in range(3):
        session.take()
    session.resume(Position((0, 0, 0), 4))
    piece = session.take()
    assert (piece.number, piece.offset, bytes(piece.data)) == (1, 4, b"4567")


def test_a_bulk_of_several_parts_is_cut_where_they_meet():
    bulk = Bulk(memoryview(b""), memoryview(b"abc"), memoryview(b"defgh"))
    assert bulk.size == 8
    assert [bytes(bulk.chunk(offset, 4)) for offset in (0, 1, 3, 5)] == [b"abc", b"bc", b"defg", b"fgh"]
    with pytest.raises(IndexError):
        bulk.chunk(8, 4)
