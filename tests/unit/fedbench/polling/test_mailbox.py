import asyncio
import logging
import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import LocalProtocolError
from fedbench.messages import Kind, Message
from fedbench.polling.mailbox import Mailboxes
from tests.pace import limit_s


def data(source, target, body, tensors=None):
    return Message(Kind.DATA, source, target, "m", body, tensors)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.booleans()), max_size=40))
def test_each_pair_has_a_queue_of_its_own(steps):
    boxes, expected = Mailboxes(), {}
    for n, (source, target, puts) in enumerate(steps):
        queue = expected.setdefault((target, source), [])
        if puts:
            boxes.put(data(source, target, n))
            queue.append(n)
        else:
            found = boxes.look(target, source)
            assert (None if found is None else found.body) == (queue.pop(0) if queue else None)


def test_what_is_put_is_copied(model):
    boxes, body, sent = Mailboxes(), {"list": [1, 2]}, model(3)
    boxes.put(data("a", "b", body, sent))
    body["list"].append(3)
    body["more"] = 1
    found = boxes.look("b", "a")
    assert found.body == {"list": [1, 2]}
    assert found.tensors == sent
    assert found.tensors.version == 3
    assert found.tensors["w"].__array_interface__["data"] != sent["w"].__array_interface__["data"]
    assert not found.tensors["w"].flags.writeable


def test_arrays_are_passed_by_reference_where_that_is_asked_for(model):
    boxes, body, sent = Mailboxes(copy=False), {"list": [1, 2]}, model(3)
    boxes.put(data("a", "b", body, sent))
    body["list"].append(3)
    found = boxes.look("b", "a")
    assert found.tensors is sent
    assert found.body == {"list": [1, 2]}, "plain data can be changed, so it is copied all the same"


def test_a_body_that_is_not_plain_is_refused_and_nothing_is_left():
    boxes = Mailboxes()
    with pytest.raises(LocalProtocolError):
        boxes.put(data("a", "b", object()))
    assert boxes.look("b", "a") is None


def test_every_message_is_logged_at_debug(caplog):
    caplog.set_level(logging.DEBUG, "fedbench.polling")
    Mailboxes().put(data("a", "b", 1))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("DEBUG", "a -> b: data m")]


def test_forget_drops_what_is_for_or_from_a_node():
    boxes = Mailboxes()
    for source, target in ("ab", "ba", "bc", "ca"):
        boxes.put(data(source, target, source + target))
    boxes.forget("b")
    boxes.forget("nobody")
    assert [boxes.look(t, s) for s, t in ("ab", "ba", "bc")] == [None] * 3
    assert boxes.look("a", "c").body == "ca"
    boxes.put(data("a", "b", "later"))
    assert boxes._boxes == {("a", "c"): deque()}, "nobody will look for it"


def test_withdraw_takes_back_what_nobody_has_taken():
    boxes = Mailboxes()
    for n in (1, 2):
        boxes.put(Message(Kind.RPC_REQUEST, "a", "b", "m", n, correlation_id=n))
    boxes.withdraw("b", "a", 1)
    boxes.withdraw("b", "a", 1)
    boxes.withdraw("nobody", "a", 1)
    assert boxes.look("b", "a").body == 2
    assert boxes.look("b", "a") is None


async def test_receive_takes_what_is_there_at_once():
    boxes = Mailboxes()
    boxes.put(data("a", "b", "x"))
    assert (await boxes.receive("b", "a", 0, 1)).body == "x"


async def test_receive_looks_again_until_something_comes():
    boxes = Mailboxes()
    receiving = asyncio.create_task(boxes.receive("b", "a", 5, 0.001))
    await asyncio.sleep(0.005)
    assert not receiving.done()
    boxes.put(data("other", "b", "not from a"))
    boxes.put(data("a", "b", "x"))
    assert (await receiving).body == "x"


@pytest.mark.parametrize("interval_s", [0.001, 60.0])
async def test_receive_gives_up_after_its_timeout_however_long_the_interval(interval_s):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"b found nothing from a within 0\.01 s"):
        await Mailboxes().receive("b", "a", 0.01, interval_s)
    assert 0.009 <= time.monotonic() - began < limit_s(5)


async def test_receive_looks_every_interval():
    class Counting(Mailboxes):
        looks = 0

        def look(self, target, source):
            self.looks += 1
            return super().look(target, source)

    seldom, often = Counting(), Counting()
    for boxes, interval_s in ((seldom, 0.02), (often, 0.001)):
        with pytest.raises(TimeoutError):
            await boxes.receive("b", "a", 0.04, interval_s)
    assert 2 <= seldom.looks <= 4
    assert often.looks > seldom.looks, "a shorter interval is paid for with more looks"


async def test_cancelling_receive_loses_nothing():
    boxes = Mailboxes()
    receiving = asyncio.create_task(boxes.receive("b", "a", 5, 0.001))
    await asyncio.sleep(0.002)
    boxes.put(data("a", "b", "x"))
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert boxes.look("b", "a").body == "x"
