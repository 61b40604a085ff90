import pytest

from fedbench.rpc.deadlines import NEVER_NS, DeadlineTimer
from tests.fakes.clock import FakeClock


class CountingClock(FakeClock):
    """Counts how many timers were asked for."""

    made = 0

    def call_later(self, delay_s, callback):
        self.made += 1
        return super().call_later(delay_s, callback)


class Owner:
    """Open deadlines, as an endpoint or a stub has them."""

    def __init__(self):
        self.open_ns: list[int] = []
        self.fired: list[int] = []
        self.clock = CountingClock()
        self.clock.advance(5)
        self.timer = DeadlineTimer(self.clock, self.expire)

    def add(self, seconds):
        deadline_ns = self.clock.now_ns() + round(seconds * 1e9)
        self.open_ns.append(deadline_ns)
        self.timer.watch(deadline_ns)
        return deadline_ns

    def expire(self, now_ns):
        due = [ns for ns in self.open_ns if ns <= now_ns]
        self.open_ns = [ns for ns in self.open_ns if ns > now_ns]
        self.fired += due
        return min(self.open_ns, default=None)


@pytest.fixture
def owner():
    return Owner()


def test_a_deadline_fires_when_it_passes_and_not_before(owner):
    due = owner.add(1)
    owner.clock.advance(0.999)
    assert owner.fired == []
    owner.clock.advance(0.001)
    assert owner.fired == [due]
    assert owner.clock.pending == 0
    assert owner.timer.armed_ns == NEVER_NS


def test_an_earlier_deadline_re_arms_the_one_timer(owner):
    late, early = owner.add(10), owner.add(1)
    assert owner.clock.pending == 1
    owner.clock.advance(1)
    assert owner.fired == [early]
    assert owner.clock.pending == 1
    owner.clock.advance(9)
    assert owner.fired == [early, late]


def test_deadlines_that_are_met_cost_no_timer(owner):
    for _ in range(1000):
        owner.open_ns.remove(owner.add(30))
    assert owner.clock.made == 1
    owner.clock.advance(60)
    assert owner.fired == []
    assert owner.clock.pending == 0, "an idle node has no timer"


def test_a_met_deadline_does_not_hold_up_the_next(owner):
    met = owner.add(1)
    missed = owner.add(2)
    owner.open_ns.remove(met)
    owner.clock.advance(1)
    assert owner.fired == []
    owner.clock.advance(1)
    assert owner.fired == [missed]


def test_a_deadline_that_has_passed_already_fires_at_once(owner):
    passed = owner.add(-1)
    owner.clock.advance(0)
    assert owner.fired == [passed]


def test_a_timer_that_fires_too_early_is_set_again(owner):
    due = owner.add(1)
    owner.timer._fire()  # as a loop does whose timers are rounded to milliseconds
    assert owner.fired == []
    assert owner.clock.pending == 1
    owner.clock.advance(1)
    assert owner.fired == [due]


def test_deadlines_added_while_it_fires_are_kept(owner):
    expire = owner.timer._expire

    def expire_and_add(now_ns):
        left = expire(now_ns)
        if len(owner.fired) == 1:
            owner.add(1)
        return left

    owner.timer._expire = expire_and_add
    owner.add(1)
    third = owner.add(3)
    owner.clock.advance(1)
    assert owner.clock.pending == 1
    owner.clock.advance(2)
    assert len(owner.fired) == 3
    assert owner.fired[-1] == third


def test_zero_means_never(owner):
    owner.timer.watch(0)
    assert owner.clock.pending == 0


def test_a_closed_timer_forgets_until_it_is_told_of_another(owner):
    owner.add(1)
    owner.timer.close()
    owner.timer.close()
    owner.clock.advance(2)
    assert owner.fired == []
    owner.add(1)
    assert owner.clock.pending == 1
