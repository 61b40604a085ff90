import asyncio
import contextvars
import logging

import pytest

from fedbench.errors import ConnectionClosed, RemoteError
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from fedbench.transport.dispatch import Dispatcher, describe
from fedbench.transport.receipt import Ledger, Outcome, Receipt
from tests.pace import limit_s

MESSAGE = Message(Kind.CLIENT_NOTIFY, "memory_client_1", "memory_server", "event")


def receipt():
    made = Receipt(Ledger())
    made.ack()
    return made


def test_describe_keeps_type_message_and_traceback():
    try:
        {}["k"]
    except KeyError as error:
        remote = describe("n", error)
    assert (remote.node_id, remote.type_name, remote.message) == ("n", "KeyError", "'k'")
    assert '{}["k"]' in remote.traceback_text


async def test_plain_handlers_run_at_once_and_in_order():
    seen, delivery = [], receipt()
    Dispatcher().run([lambda _: seen.append(1), lambda _: seen.append(2)], MESSAGE, delivery)
    assert seen == [1, 2]
    assert "applied" in repr(delivery)


async def test_nobody_to_handle_counts_as_applied():
    delivery = receipt()
    Dispatcher().run([], MESSAGE, delivery)
    await delivery.applied


async def test_coroutines_start_in_order_of_arrival_and_run_side_by_side():
    seen, go = [], asyncio.Event()

    async def handler(message):
        seen.append(message.method)
        await go.wait()

    dispatcher, deliveries = Dispatcher(), [receipt() for _ in range(3)]
    for number, delivery in enumerate(deliveries):
        dispatcher.run([handler], Message(Kind.DATA, "a", "b", str(number)), delivery)
    await asyncio.sleep(0)
    assert seen == ["0", "1", "2"]
    go.set()
    for delivery in deliveries:
        await delivery.applied


async def test_a_plain_function_may_return_a_future():
    future, delivery = asyncio.get_running_loop().create_future(), receipt()
    Dispatcher().run([lambda _: future], MESSAGE, delivery)
    future.set_exception(KeyError("k"))
    with pytest.raises(RemoteError):
        await delivery.applied


async def test_the_first_error_is_reported_each_is_logged_and_all_run(caplog):
    seen = []

    def fail(message):
        raise KeyError("first")

    async def fail_later(message):
        raise IndexError("second")

    async def fine(message):
        seen.append(1)

    delivery = receipt()
    Dispatcher().run([fail, fail_later, fine], MESSAGE, delivery)
    with pytest.raises(RemoteError, match="memory_server raised KeyError"):
        await delivery.applied
    assert seen == [1]
    assert [(record.levelno, record.name) for record in caplog.records] == [
        (logging.WARNING, "fedbench.transport")
    ] * 2
    assert "memory_server: a handler of client_notify from memory_client_1 raised KeyError" in caplog.text
    assert caplog.records[0].exc_info


async def test_handlers_run_as_the_node_that_runs_the_dispatcher():
    seen = []

    async def coroutine(message):
        await asyncio.sleep(0)
        seen.append(current_node.get())

    delivery = receipt()
    token = current_node.set("memory_server")
    Dispatcher().run([lambda _: seen.append(current_node.get()), coroutine], MESSAGE, delivery)
    current_node.reset(token)
    await delivery.applied
    assert seen == ["memory_server"] * 2


async def test_coroutines_run_in_the_context_they_are_given():
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    context.run(variable.set, "set")
    seen = []

    async def handler(message):
        seen.append(variable.get())

    dispatcher, delivery = Dispatcher(context), receipt()
    dispatcher.run([handler], MESSAGE, delivery)
    await delivery.applied
    assert seen == ["set"]


@pytest.mark.parametrize("turns", [0, 1])
async def test_closing_cancels_handlers_begun_or_not_and_fails_their_messages(turns):
    async def hang(message):
        await asyncio.Event().wait()

    dispatcher, delivery = Dispatcher(), receipt()
    dispatcher.run([hang, hang], MESSAGE, delivery)
    for _ in range(turns):
        await asyncio.sleep(0)
    await dispatcher.close()
    await dispatcher.close()
    with pytest.raises(RemoteError, match=ConnectionClosed.__name__):
        await delivery.applied


async def test_closing_cancels_futures_too():
    future, delivery = asyncio.get_running_loop().create_future(), receipt()
    dispatcher = Dispatcher()
    dispatcher.run([lambda _: future], MESSAGE, delivery)
    await asyncio.sleep(0)
    await dispatcher.close()
    assert future.cancelled()
    with pytest.raises(RemoteError):
        await delivery.applied


async def test_a_handler_may_close_its_own_dispatcher():
    dispatcher, delivery = Dispatcher(), receipt()

    async def leave(message):
        await dispatcher.close()

    dispatcher.run([leave], MESSAGE, delivery)
    await asyncio.wait_for(delivery.applied, limit_s(5))


async def test_a_cancelled_error_of_a_handler_is_an_error_like_any_other(caplog):
    def plain(message):
        raise asyncio.CancelledError("plain")

    async def coroutine(message):
        raise asyncio.CancelledError("coroutine")

    for handler in (plain, coroutine):
        seen, delivery = [], receipt()
        Dispatcher().run([handler, lambda _, seen=seen: seen.append(1)], MESSAGE, delivery)
        with pytest.raises(RemoteError, match=f"CancelledError: {handler.__name__}"):
            await delivery.applied
        assert seen == [1]
    assert len(caplog.records) == 2


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_task_no_longer_counts_as_running(begun):
    ledger, dispatcher = Ledger(), Dispatcher()

    async def handler(message):
        await asyncio.Event().wait()

    dispatcher.run([handler], MESSAGE, Receipt(ledger, Outcome.ACKED))
    if begun:
        await asyncio.sleep(0)
    assert ledger.running == 1
    await dispatcher.close()
    assert (ledger.running, ledger.running_bytes) == (0, 0)
