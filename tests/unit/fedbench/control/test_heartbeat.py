import pytest

from fedbench.control.heartbeat import Heartbeat
from tests.fakes.clock import FakeClock


def test_one_tick_an_interval_with_one_timer():
    clock, ticks = FakeClock(), []
    heartbeat = Heartbeat(clock, lambda: ticks.append(clock.now_ns() // 10**9))
    heartbeat.start(30)
    clock.advance(29)
    assert ticks == []
    clock.advance(61)
    assert ticks == [31, 61, 91]
    assert clock.pending == 1


def test_starting_again_takes_the_place_of_the_earlier_interval():
    clock, ticks = FakeClock(), []
    heartbeat = Heartbeat(clock, lambda: ticks.append(1))
    heartbeat.start(1)
    heartbeat.start(10)
    clock.advance(9)
    assert ticks == []
    clock.advance(1)
    assert ticks == [1]


def test_stopping_is_idempotent_and_may_happen_in_a_tick():
    clock, ticks = FakeClock(), []
    heartbeat = Heartbeat(clock, lambda: (ticks.append(1), heartbeat.stop()))
    heartbeat.stop()
    heartbeat.start(1)
    clock.advance(5)
    heartbeat.stop()
    assert ticks == [1]
    assert clock.pending == 0


def test_a_beat_that_raises_does_not_end_the_heartbeat():
    clock, ticks = FakeClock(), []

    def beat():
        ticks.append(1)
        raise ValueError

    Heartbeat(clock, beat).start(1)
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011  # that it ticks again is the point
            clock.advance(1)
    assert ticks == [1, 1]


@pytest.mark.parametrize("interval_s", [0, -1])
def test_the_interval_is_positive(interval_s):
    clock = FakeClock()
    with pytest.raises(ValueError, match="is not positive"):
        Heartbeat(clock, print).start(interval_s)
    assert clock.pending == 0
