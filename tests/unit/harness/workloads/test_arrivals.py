"""Arrivals: random times that wait for nobody, and the lag behind them."""

import asyncio
import random
import time
from itertools import pairwise

import pytest

from harness.workloads.arrivals import Arrivals


@pytest.mark.parametrize("exact", [False, True])
async def test_gaps_are_those_of_a_poisson_process_with_that_rate(exact: bool) -> None:
    arrivals = Arrivals(1e5, random.Random(3), exact=exact)
    times_ns = [(await arrivals.next()).intended_ns for _ in range(4000)]
    gaps_s = [(after - before) / 1e9 for before, after in pairwise(times_ns)]
    mean_s = sum(gaps_s) / len(gaps_s)
    assert mean_s == pytest.approx(1e-5, rel=0.1)
    spread_s = (sum((gap - mean_s) ** 2 for gap in gaps_s) / len(gaps_s)) ** 0.5
    assert spread_s == pytest.approx(mean_s, rel=0.15)  # equal for an exponential distribution


@pytest.mark.parametrize("exact", [False, True])
async def test_nothing_begins_before_its_time(exact: bool) -> None:
    arrivals = Arrivals(500.0, random.Random(4), exact=exact)
    for _ in range(20):
        intended_ns, now_ns = await arrivals.next()
        assert intended_ns <= now_ns <= time.monotonic_ns()
    assert arrivals.lag.count == 20


async def test_the_same_seed_gives_the_same_gaps() -> None:
    async def gaps(seed: int) -> list[int]:
        arrivals = Arrivals(1e6, random.Random(seed))
        times_ns = [(await arrivals.next()).intended_ns for _ in range(5)]
        return [time_ns - times_ns[0] for time_ns in times_ns]

    assert await gaps(5) == await gaps(5) != await gaps(6)


async def test_a_generator_that_was_held_up_catches_up_and_says_by_how_much_it_lagged() -> None:
    arrivals = Arrivals(1000.0, random.Random(5))
    await arrivals.next()
    time.sleep(0.05)
    held_ns = time.monotonic_ns()
    overdue = 0
    while (await arrivals.next()).intended_ns < held_ns:
        overdue += 1
    assert overdue >= 20  # about 50 were due
    assert arrivals.lag.percentile(1.0) > 40e6


async def test_exact_arrivals_let_others_run_meanwhile() -> None:
    arrivals = Arrivals(100.0, random.Random(6), exact=True)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    await arrivals.next()
    turning.cancel()
    await asyncio.gather(turning, return_exceptions=True)
    assert turns > 1


@pytest.mark.parametrize("rate_per_s", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate_per_s: float) -> None:
    with pytest.raises(ValueError, match=r"rate_per_s is .*: it must be above 0"):
        Arrivals(rate_per_s, random.Random())
