import pytest

from fedbench.rpc.deadlines import DeadlineTimer
from tests.fakes.clock import FakeClock


class CountingClock(FakeClock):
    """Counts how many timers were asked for."""

    made = 0

    def call_later(self, delay_s, callback):
        self.made += 1
        return super().call_later(delay_s, callback)


@pytest.fixture
def clock():
    return CountingClock()


@pytest.fixture
def fired():
    return []


@pytest.fixture
def timer(clock):
    return DeadlineTimer(clock)


def after(clock, seconds):
    return clock.now_ns() + round(seconds * 1e9)


def test_a_deadline_fires_when_it_passes_and_not_before(clock, timer, fired):
    timer.add(after(clock, 1), lambda: fired.append(clock.now_ns()))
    due = after(clock, 1)
    clock.advance(0.999)
    assert fired == []
    clock.advance(0.001)
    assert fired == [due]
    clock.advance(5)
    assert fired == [due]
    assert clock.pending == 0


def test_an_earlier_deadline_re_arms_the_one_timer(clock, timer, fired):
    timer.add(after(clock, 10), lambda: fired.append("late"))
    timer.add(after(clock, 1), lambda: fired.append("early"))
    assert clock.pending == 1
    clock.advance(1)
    assert fired == ["early"]
    assert clock.pending == 1
    clock.advance(9)
    assert fired == ["early", "late"]


def test_later_deadlines_cost_no_timer(clock, timer):
    timer.add(after(clock, 1), int)
    for _ in range(100):
        timer.add(after(clock, 2), int)
    assert clock.made == 1


def test_met_deadlines_cost_no_timer(clock, timer, fired):
    timer.discard(timer.add(after(clock, 30), lambda: fired.append("never")))
    for _ in range(1000):
        timer.discard(timer.add(after(clock, 30), lambda: fired.append("never")))
    assert clock.made == 1
    clock.advance(60)
    assert fired == []
    assert clock.pending == 0, "an idle node has no timer"


def test_a_met_deadline_does_not_hold_up_the_next(clock, timer, fired):
    token = timer.add(after(clock, 1), lambda: fired.append("met"))
    timer.add(after(clock, 2), lambda: fired.append("missed"))
    timer.discard(token)
    clock.advance(1)
    assert fired == []
    clock.advance(1)
    assert fired == ["missed"]


def test_a_deadline_that_has_passed_already_fires_at_once(clock, timer, fired):
    timer.add(clock.now_ns() - 5, lambda: fired.append("passed"))
    clock.advance(0)
    assert fired == ["passed"]


def test_deadlines_added_while_firing_are_kept(clock, timer, fired):
    def again():
        fired.append("first")
        timer.add(after(clock, 1), lambda: fired.append("second"))

    timer.add(after(clock, 1), again)
    timer.add(after(clock, 3), lambda: fired.append("third"))
    clock.advance(1)
    assert clock.pending == 1
    clock.advance(1)
    assert fired == ["first", "second"]
    clock.advance(1)
    assert fired == ["first", "second", "third"]


def test_several_deadlines_of_one_moment_fire_in_the_order_they_were_made(clock, timer, fired):
    for n in range(5):
        timer.add(after(clock, 1), lambda n=n: fired.append(n))
    clock.advance(1)
    assert fired == [0, 1, 2, 3, 4]


def test_a_closed_timer_never_fires(clock, timer, fired):
    timer.add(after(clock, 1), lambda: fired.append("never"))
    timer.close()
    timer.close()
    clock.advance(2)
    assert fired == []
    assert clock.pending == 0
