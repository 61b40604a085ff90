import asyncio

import pytest

from fedbench.control.registration import Admissions, PendingReplies
from fedbench.errors import RegistrationError, RoutingError


def test_admission_keeps_order_and_is_idempotent():
    admissions = Admissions()
    for client_id, epoch in (("b", 1), ("a", 1), ("b", 1), ("b", 2)):
        admissions.admit(client_id, epoch)
    assert admissions.ids() == ("b", "a")
    assert "a" in admissions
    assert "c" not in admissions


def test_an_older_epoch_is_refused_and_counted():
    admissions = Admissions()
    admissions.admit("a", 3)
    with pytest.raises(RegistrationError, match="a is registered with epoch 3: epoch 2 is over"):
        admissions.admit("a", 2)
    assert admissions.refused == 1
    assert admissions.ids() == ("a",)


def test_removing():
    admissions = Admissions()
    admissions.admit("a", 3)
    assert admissions.remove("a")
    assert not admissions.remove("a")
    admissions.admit("a", 1)
    assert admissions.ids() == ("a",)


async def test_an_answer_given_inside_the_question_counts():
    pending = PendingReplies("riddle")
    assert await pending.ask("a", lambda: pending.answer("a", {"n": 1}), 5) == {"n": 1}


async def test_the_first_answer_serves_all_who_ask_that_peer():
    pending = PendingReplies("riddle")
    asked = []
    asking = [asyncio.create_task(pending.ask("a", lambda: asked.append(1), 5)) for _ in range(3)]
    other = asyncio.create_task(pending.ask("b", lambda: None, 5))
    await asyncio.sleep(0)
    asking[0].cancel()
    pending.answer("a", {"n": 1})
    pending.answer("a", {"n": 2})
    assert await asyncio.gather(*asking[1:]) == [{"n": 1}] * 2
    assert asking[0].cancelled() or asking[0].cancelling()
    assert len(asked) == 3
    assert not other.done()
    pending.fail("b", ValueError("killed"))
    with pytest.raises(RegistrationError, match="b is gone: killed"):
        await other
    assert pending._futures == {}


async def test_silence_is_an_error():
    pending = PendingReplies("riddle")
    with pytest.raises(RegistrationError, match=r"a did not answer the riddle within 0\.001 s"):
        await pending.ask("a", lambda: None, 0.001)
    assert pending._futures == {}
    pending.answer("a", {})
    pending.fail("a", ValueError())


async def test_a_question_that_cannot_be_sent_leaves_nothing_behind():
    pending = PendingReplies("riddle")

    def refuse():
        pending.fail("a", ValueError("gone"))
        pending.fail("a", ValueError("gone again"))
        raise RoutingError("x", "a", "no")

    with pytest.raises(RoutingError):
        await pending.ask("a", refuse, 5)
    assert pending._futures == {}
