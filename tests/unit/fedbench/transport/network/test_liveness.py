from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.transport.network.liveness import Lazily, Pacemaker, Watchdog
from tests.fakes.clock import FakeClock

H = HEARTBEAT_S = 30.0


class CountingClock(FakeClock):
    """Counts how often a timer has run, and how many were set and left."""

    def __init__(self):
        super().__init__()
        self.ran = 0

    def call_later(self, delay_s, callback):
        def run():
            self.ran += 1
            callback()

        return super().call_later(delay_s, run)


class FakeLink:
    """A link, and the end of a connection that it carries."""

    def __init__(self, clock, heartbeat_s=H, peer_id="peer"):
        self.clock = clock
        self.peer_id = peer_id
        self.heartbeat_s = heartbeat_s
        self.cut_ns = 0
        self.beats = 0
        self.answer = None
        self.hear()

    def hear(self):
        self.heard_ns = self.clock.now_ns()

    def beat(self):
        self.beats += 1
        if self.answer is not None:
            self.answer()

    def abort(self):
        assert not self.cut_ns
        self.cut_ns = self.clock.now_ns()

    @property
    def silent(self):
        """Heartbeats between the last life and the cut."""
        assert self.cut_ns
        return (self.cut_ns - self.heard_ns) / 1e9 / self.heartbeat_s


def pacemaker(clock):
    return Pacemaker(clock, H)


ROLES = pytest.mark.parametrize("role", [pacemaker, Watchdog])
phases = st.floats(0.0, 5.0)


@ROLES
@given(phases, phases, st.booleans())
def test_a_silent_link_is_cut_within_one_and_a_half_heartbeats_of_its_last_life(role, began, lived, answers):
    clock = FakeClock()
    liveness = role(clock)
    other = FakeLink(clock)  # by which the tick is set
    other.answer = other.hear
    liveness.add(other, other)
    clock.advance(began * H)
    link = FakeLink(clock)
    link.answer = link.hear if answers else None
    liveness.add(link, link)
    for _ in range(8):  # it speaks now and then
        clock.advance(lived / 8 * H)
        link.hear()
    assert not link.cut_ns
    link.answer = None
    clock.advance(1.5 * H)
    assert 0.7 <= link.silent <= 1.5
    assert len(liveness) == (role is pacemaker)


@given(st.lists(st.floats(0.0, 0.6), min_size=10, max_size=30), phases)
def test_no_link_is_cut_whose_answers_are_late_by_less_than_a_tick(delays, began):
    clock = FakeClock()
    server, client = Pacemaker(clock, H), Watchdog(clock)
    far = FakeLink(clock)
    far.answer = far.hear
    server.add(far, far)
    clock.advance(began * H)
    near, end = FakeLink(clock), FakeLink(clock)
    left = iter(delays)

    def ask():
        """The beat takes its time, and then the answer."""
        late = next(left, 0.0)
        clock.call_later(late / 2 * H, lambda: (near.hear(), clock.call_later(late / 2 * H, end.hear)))

    end.answer = ask
    server.add(end, end)
    client.add(near, near)
    clock.advance(len(delays) * H)
    assert (near.cut_ns, end.cut_ns) == (0, 0)
    assert end.beats >= len(delays)


def test_an_idle_client_wakes_for_each_beat_and_for_every_second_once_more():
    clock, ticks = CountingClock(), CountingClock()
    server, client = Pacemaker(ticks, H), Watchdog(clock)
    near, end = FakeLink(clock), FakeLink(ticks)
    end.answer = lambda: (near.hear(), end.hear())
    client.add(near, near)
    server.add(end, end)
    for _ in range(14 * 100):  # hundredths of a heartbeat
        ticks.advance(H / 100)
        clock.advance(H / 100)
    assert (end.beats, ticks.ran, clock.ran) == (20, 20, 9)
    assert (end.beats + clock.ran) / (14 * H) < 0.1  # a second
    assert (clock.pending, ticks.pending) == (1, 1)


def test_however_many_links_a_client_has_it_wakes_at_most_each_three_quarters():
    clock = CountingClock()
    client, links = Watchdog(clock), []
    for _ in range(50):
        clock.advance(H * 0.7 / 50)
        links.append(FakeLink(clock))
        client.add(links[-1], links[-1])
    for turn in range(1000):
        clock.advance(H * 0.7 / 50)
        links[turn % 50].hear()
    assert clock.ran <= 1020 * 0.7 / 50 / 0.75
    assert not any(link.cut_ns for link in links)


def test_links_of_several_servers_have_a_heartbeat_each():
    clock = FakeClock()
    client = Watchdog(clock)
    slow, fast = FakeLink(clock, 100.0), FakeLink(clock, 1.0)
    client.add(slow, slow)
    client.add(fast, fast)
    clock.advance(1.5)
    assert (fast.silent, slow.cut_ns, clock.pending) == (1.45, 0, 1)
    clock.advance(148.5)
    assert (slow.silent, clock.pending) == (1.45, 0)


def test_a_cut_says_whose_link_it_was_and_for_how_long_nothing_came(caplog):
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    server, link = Pacemaker(clock, H), FakeLink(clock, peer_id="alice")
    server.add(link, link)
    clock.advance(1.4 * H)
    assert caplog.messages == ["the link to alice is cut: nothing came for 42.0 s"]
    assert link.beats == 1
    assert clock.pending == 0


@ROLES
def test_one_timer_for_all_and_none_without_links(role):
    clock = FakeClock()
    liveness = role(clock)
    links = [FakeLink(clock) for _ in range(10)]
    assert clock.pending == 0
    for link in links:
        liveness.add(link, link)
    assert (clock.pending, len(liveness)) == (1, 10)
    for link in [*links, links[0]]:
        liveness.remove(link)
    assert (clock.pending, len(liveness)) == (0, 0)
    liveness.add(links[0], links[0])
    clock.advance(1.5 * H)  # it is cut
    assert (clock.pending, len(liveness)) == (0, 0)
    liveness.remove(links[0])
    liveness.add(links[1], links[1])
    liveness.close()
    assert clock.pending == 0


def test_a_server_whose_clients_had_all_gone_asks_before_it_cuts():
    clock = FakeClock()
    server, first = Pacemaker(clock, H), FakeLink(clock)
    server.add(first, first)
    clock.advance(H)
    server.remove(first)
    second = FakeLink(clock)
    clock.advance(H)
    server.add(second, second)
    clock.advance(0.7 * H)
    assert (second.beats, second.cut_ns) == (1, 0)


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
