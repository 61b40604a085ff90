from __future__ import annotations

import asyncio

import pytest

from fedbench.errors import DeadlineExceeded, PeerLost
from fedbench.rpc.outcomes import Outcomes

LOST = PeerLost("b", "killed")


async def test_outcomes_that_are_known_before_anybody_waits():
    outcomes = Outcomes(["a", "b"])
    outcomes.note("b", LOST)
    outcomes.note("a", None)
    assert await outcomes.wait(0) == {"a": None, "b": LOST}
    assert list(await outcomes.wait(None)) == ["a", "b"]


async def test_nobody_to_wait_for():
    assert await Outcomes([]).wait(None) == {}


async def test_they_are_waited_for_and_the_first_word_counts():
    outcomes = Outcomes(["a", "b"])
    waiting = asyncio.create_task(outcomes.wait(None))
    await asyncio.sleep(0)
    outcomes.note("a", None)
    outcomes.note("a", LOST)
    await asyncio.sleep(0)
    assert not waiting.done()
    outcomes.note("b", LOST)
    assert await waiting == {"a": None, "b": LOST}


async def test_whoever_is_late_is_named_and_its_later_word_changes_nothing():
    outcomes = Outcomes(["a", "b"])
    outcomes.note("a", None)
    known = await outcomes.wait(0.001)
    assert known["a"] is None
    assert isinstance(known["b"], DeadlineExceeded)
    assert str(known["b"]) == "b did not apply the model within 0.001 s"
    outcomes.note("b", None)
    assert isinstance(known["b"], DeadlineExceeded)


async def test_a_word_after_the_waiting_was_cancelled_disturbs_nobody():
    outcomes = Outcomes(["a"])
    waiting = asyncio.create_task(outcomes.wait(None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    outcomes.note("a", None)
    assert await outcomes.wait(None) == {"a": None}
