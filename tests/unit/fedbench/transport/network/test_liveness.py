from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from fedbench.transport.network.liveness import Lazily, Liveness
from tests.fakes.clock import FakeClock

HEARTBEAT_S = 30.0


class FakeLink:
    def __init__(self, clock):
        self.clock = clock
        self.cut_ns = 0
        self.beats = 0
        self.heard_ns = clock.now_ns()

    def beat(self):
        self.beats += 1

    def abort(self):
        self.cut_ns = self.cut_ns or self.clock.now_ns()


@pytest.fixture
def watched():
    clock = FakeClock()
    return SimpleNamespace(clock=clock, liveness=Liveness(clock, HEARTBEAT_S), link=FakeLink(clock))


@pytest.mark.parametrize("silent_from_s", [0.0, 3.0, 7.5, 17.9, 25.0])
def test_a_silent_link_is_cut_within_one_and_a_half_heartbeats(watched, silent_from_s, caplog):
    caplog.set_level(logging.INFO)
    watched.liveness.add(watched.link, "peer", watched.link.beat)
    watched.clock.advance(silent_from_s)
    watched.link.heard_ns = watched.clock.now_ns()
    watched.clock.advance(HEARTBEAT_S * 1.5)
    silent_s = (watched.link.cut_ns - watched.link.heard_ns) / 1e9
    assert HEARTBEAT_S * 0.9 <= silent_s <= HEARTBEAT_S * 1.5
    assert "the link to peer is cut" in caplog.text


def test_two_idle_ends_keep_each_other_alive_however_their_ticks_lie(watched):
    other = FakeLink(watched.clock)
    far = Liveness(watched.clock, HEARTBEAT_S)

    def beat(link, peer):
        link.beat()
        peer.heard_ns = watched.clock.now_ns()

    watched.liveness.add(watched.link, "peer", lambda: beat(watched.link, other))
    watched.clock.advance(7.0)
    far.add(other, "peer", lambda: beat(other, watched.link))
    watched.clock.advance(1000.0)
    assert (watched.link.cut_ns, other.cut_ns) == (0, 0)
    assert watched.link.beats <= 1000 / 18 + 1


def test_one_timer_for_all_and_none_without_links(watched):
    links = [FakeLink(watched.clock) for _ in range(10)]
    for link in links:
        watched.liveness.add(link, "peer", link.beat)
    assert (watched.clock.pending, len(watched.liveness)) == (1, 10)
    for link in [*links, links[0]]:
        watched.liveness.remove(link)
    assert watched.clock.pending == 0
    watched.liveness.close()


def test_what_nobody_waits_for_is_done_once_and_together():
    clock, done = FakeClock(), []
    lazily = Lazily(clock)

    def one():
        done.append(1)

    for _ in range(3):
        lazily.add(one)
    lazily.add(lambda: done.append(2))
    assert clock.pending == 1
    clock.advance(0.5)
    assert sorted(done) == [1, 2]
    lazily.add(one)
    lazily.discard(one)
    clock.advance(1.0)
    assert sorted(done) == [1, 2]
    lazily.add(one)
    lazily.close()
    assert clock.pending == 0
