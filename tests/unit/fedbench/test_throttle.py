from __future__ import annotations

import logging

import pytest

from fedbench.throttle import MOST_KINDS, Throttle
from tests.fakes.clock import FakeClock

log = logging.getLogger("fedbench.throttled")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def throttle(clock):
    return Throttle(log, clock)


def told(caplog):
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


def test_the_first_of_a_kind_is_logged_at_once_and_those_behind_it_are_counted(throttle, clock, caplog):
    for number in range(1000):
        throttle.warning("junk", "refused %d", number)
    throttle.warning("other", "refused another")
    assert told(caplog) == ["refused 0", "refused another"]
    clock.advance(59.9)
    assert told(caplog) == []
    clock.advance(0.1)
    assert told(caplog) == ["999 more like this within a minute, the last: refused 999"]
    assert clock.pending == 0


def test_a_flood_that_goes_on_is_one_line_a_minute(throttle, clock, caplog):
    for _ in range(600):
        throttle.warning("junk", "refused")
        clock.advance(1.0)
    assert len(told(caplog)) <= 11


def test_what_is_rare_is_never_counted(throttle, clock, caplog):
    for _ in range(3):
        throttle.warning("junk", "refused")
        clock.advance(60.0)
    assert told(caplog) == ["refused"] * 3
    assert clock.pending == 0


def test_many_kinds_are_one_kind(throttle, clock, caplog):
    for number in range(1000):
        throttle.warning(number, "refused %d", number)
    assert len(told(caplog)) == MOST_KINDS + 1
    clock.advance(61.0)
    assert len(told(caplog)) == 1
    throttle.warning("fresh", "refused again")
    assert told(caplog) == ["refused again"]


def test_closing_tells_what_is_left_once(throttle, clock, caplog):
    for _ in range(3):
        throttle.warning("junk", "refused")
    told(caplog)
    throttle.close()
    throttle.close()
    assert told(caplog) == ["2 more like this within a minute, the last: refused"]
    assert clock.pending == 0


def test_what_is_below_the_level_costs_nothing(throttle, clock, caplog):
    caplog.set_level(logging.WARNING)
    throttle.log(logging.DEBUG, "junk", "refused")
    throttle.warning("junk", "refused")
    assert told(caplog) == ["refused"]
