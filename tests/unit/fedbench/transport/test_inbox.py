import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.errors import ConnectionBroken, Overloaded
from fedbench.messages import Kind, Message, weight_bytes
from fedbench.tensors.model import ModelState
from fedbench.transport.inbox import Inbox, Limits
from tests.pace import limit_s


def data(body, tensors=None):
    return Message(Kind.DATA, "a", "b", body=body, tensors=tensors)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_first_in_first_out():
    inbox = Inbox(Limits())
    for number in range(5):
        inbox.put(data(number))
    assert [await inbox.get() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_model_comes_out_as_a_model():
    inbox, model = Inbox(Limits()), ModelState.from_arrays({"w": [1.0]})
    inbox.put(data(None, model))
    assert await inbox.get() is model


async def test_the_bound_in_messages():
    inbox = Inbox(Limits(messages=2))
    inbox.put(data(1))
    assert not inbox.full()
    assert inbox.full(coming=1)
    inbox.put(data(2))
    assert inbox.full()
    with pytest.raises(Overloaded, match=r"b has 2 messages \(\d+ bytes\) from a that nobody has received"):
        inbox.put(data(3))
    assert await inbox.get() == 1
    inbox.put(data(4))
    assert [await inbox.get(), await inbox.get()] == [2, 4]


async def test_the_bound_in_bytes():
    weight = weight_bytes(data(b"x" * 1000))
    inbox = Inbox(Limits(nbytes=2 * weight))
    inbox.put(data(b"x" * 1000))
    assert inbox.full(coming_bytes=weight)
    inbox.put(data(b"x" * 1000))
    with pytest.raises(Overloaded):
        inbox.put(data(None))
    await inbox.get()
    await inbox.get()
    assert not inbox.full(coming_bytes=2 * weight - 1)


async def test_room_for_many_wakes_all_who_fit():
    inbox = Inbox(Limits(nbytes=5000))
    inbox.put(data(b"x" * 6000))
    waiting = [asyncio.create_task(inbox.space()) for _ in range(3)]
    await turns()
    assert not any(task.done() for task in waiting)
    await inbox.get()
    await asyncio.wait_for(asyncio.gather(*waiting), limit_s(5))


async def test_one_that_finds_the_room_taken_waits_on():
    inbox = Inbox(Limits(messages=1))
    inbox.put(data(1))
    waiting = asyncio.create_task(inbox.space())
    await turns()
    await inbox.get()
    inbox.put(data(2))
    await turns()
    assert not waiting.done()
    await inbox.get()
    await asyncio.wait_for(waiting, limit_s(5))


async def test_a_waiter_cancelled_as_it_is_woken_passes_the_room_on():
    inbox = Inbox(Limits(messages=1))
    inbox.put(data(1))
    first, second = asyncio.create_task(inbox.space()), asyncio.create_task(inbox.space())
    await turns()
    await inbox.get()
    first.cancel()
    await asyncio.wait_for(second, limit_s(5))
    assert first.cancelled()


async def test_one_cancelled_while_it_waited_is_passed_over():
    inbox = Inbox(Limits(messages=1))
    inbox.put(data(1))
    first, second = asyncio.create_task(inbox.space()), asyncio.create_task(inbox.space())
    await turns()
    first.cancel()
    await turns()
    await inbox.get()
    await asyncio.wait_for(second, limit_s(5))


async def test_the_end_reaches_all_who_wait():
    inbox = Inbox(Limits(messages=1))
    receivers = [asyncio.create_task(inbox.get()) for _ in range(2)]
    await turns()
    inbox.end(ConnectionBroken("gone"))
    for receiver in receivers:
        with pytest.raises(ConnectionBroken):
            await asyncio.wait_for(receiver, limit_s(5))
    inbox.reopen()
    inbox.put(data(1))
    senders = [asyncio.create_task(inbox.space()) for _ in range(2)]
    await turns()
    inbox.end(ConnectionBroken("gone again"))
    await asyncio.wait_for(asyncio.gather(*senders), limit_s(5))
    assert await inbox.get() == 1
    with pytest.raises(ConnectionBroken, match="gone again"):
        await inbox.get()
    inbox.reopen()
    inbox.put(data(2))
    assert await inbox.get() == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["put", "get", "cancel", "turn"]), max_size=40))
async def test_nothing_is_lost_doubled_or_reordered_whoever_is_cancelled(steps):
    inbox, taken, receivers, sent = Inbox(Limits(messages=8)), [], [], 0

    async def receive():
        taken.append(await inbox.get())

    for step in steps:
        if step == "put" and not inbox.full():
            inbox.put(data(sent))
            sent += 1
        elif step == "get":
            receivers.append(asyncio.create_task(receive()))
        elif step == "cancel" and receivers:
            receivers.pop(0).cancel()
        else:
            await asyncio.sleep(0)
    await turns(len(steps) + 2)
    for receiver in receivers:
        receiver.cancel()
    await turns(len(steps) + 2)
    while len(taken) < sent:
        taken.append(await asyncio.wait_for(inbox.get(), limit_s(5)))
    assert taken == list(range(sent))


async def test_one_that_waits_for_room_is_let_go_when_the_source_comes_back_at_once():
    inbox = Inbox(Limits(messages=1))
    inbox.put(data(1))
    waiting = asyncio.create_task(inbox.space())
    await turns()
    inbox.end(ConnectionBroken("gone"))
    inbox.reopen()
    await asyncio.wait_for(waiting, limit_s(5))
    fenced = asyncio.create_task(inbox.space())
    await turns()
    inbox.reopen()
    await asyncio.wait_for(fenced, limit_s(5))
    assert inbox.full()


async def test_one_cancelled_while_it_waited_leaves_nothing():
    inbox = Inbox(Limits(messages=1))
    assert inbox.idle
    receiving = asyncio.create_task(inbox.get())
    await turns()
    assert not inbox.idle
    receiving.cancel()
    await turns()
    assert inbox.idle
    inbox.put(data(1))
    assert not inbox.idle
    waiting = asyncio.create_task(inbox.space())
    await turns()
    waiting.cancel()
    await turns()
    assert inbox._space == type(inbox._space)()
    await inbox.get()
    assert inbox.idle


async def test_an_empty_queue_takes_a_message_of_any_size():
    inbox = Inbox(Limits(nbytes=1000))
    inbox.put(data(b"x" * 10_000))
    with pytest.raises(Overloaded):
        inbox.put(data(b""))
