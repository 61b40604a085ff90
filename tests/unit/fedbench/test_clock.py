import asyncio
import time

import pytest

from fedbench.clock import LoopClock
from tests.fakes.clock import FakeClock
from tests.pace import limit_s


def test_the_loop_clock_is_monotonic_time():
    before_ns = time.monotonic_ns()
    now_ns = LoopClock().now_ns()
    assert before_ns <= now_ns <= time.monotonic_ns()


async def test_a_timer_of_the_loop_clock_runs_once():
    clock, ran = LoopClock(), asyncio.Event()
    clock.call_later(0, ran.set)
    await asyncio.wait_for(ran.wait(), limit_s(5))


async def test_a_cancelled_timer_of_the_loop_clock_does_not_run():
    clock, calls, later = LoopClock(), [], asyncio.Event()
    timer = clock.call_later(0, lambda: calls.append(1))
    clock.call_later(0, later.set)
    timer.cancel()
    timer.cancel()
    await asyncio.wait_for(later.wait(), limit_s(5))
    assert calls == []


def test_the_loop_clock_needs_a_loop():
    with pytest.raises(RuntimeError):
        LoopClock().call_later(0, print)


def test_the_fake_clock_runs_timers_in_order_at_their_own_time():
    clock, ran = FakeClock(), []
    start_ns = clock.now_ns()

    def note(name):
        return lambda: ran.append((name, (clock.now_ns() - start_ns) / 1e9))

    clock.call_later(2, note("two"))
    clock.call_later(1, note("one"))
    clock.call_later(1, note("one again"))
    clock.call_later(9, note("nine"))
    cancelled = clock.call_later(1, note("never"))
    cancelled.cancel()
    assert clock.pending == 4
    clock.advance(0.5)
    assert ran == []
    clock.advance(2)
    assert ran == [("one", 1), ("one again", 1), ("two", 2)]
    assert clock.now_ns() - start_ns == 2_500_000_000


def test_the_fake_clock_runs_timers_that_timers_start():
    clock, ran = FakeClock(), []

    def tick():
        ran.append(clock.now_ns())
        clock.call_later(1, tick)

    clock.call_later(1, tick)
    clock.advance(3)
    assert [ns / 1e9 for ns in ran] == [2, 3, 4]
    assert clock.pending == 1
