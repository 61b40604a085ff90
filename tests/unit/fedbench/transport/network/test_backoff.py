from __future__ import annotations

import random

import pytest

from fedbench.transport.network.backoff import Backoff


def test_delays_grow_to_their_most_and_begin_again():
    backoff = Backoff(lambda: 0.5)
    delays = [backoff.delay_s() for _ in range(14)]
    assert delays[:4] == pytest.approx([1.0, 1.6, 2.56, 4.096])
    assert delays[-1] == 120.0
    backoff.reset()
    assert backoff.delay_s() == 1.0


def test_delays_are_spread_by_a_fifth():
    draw = random.Random(1).random
    delays = [Backoff(draw).delay_s() for _ in range(1000)]
    assert 0.8 <= min(delays) < 0.81
    assert 1.19 < max(delays) <= 1.2


def test_a_thousand_clients_do_not_dial_in_step():
    draw = random.Random(1).random
    dials = []
    for _ in range(1000):
        backoff, now_s = Backoff(draw), 0.0
        while now_s < 60:
            now_s += backoff.delay_s()
            dials.append(int(now_s * 10))
    most = max(dials.count(moment) for moment in set(dials))
    assert most < 400  # in a tenth of a second: the first delay is spread over four of them
