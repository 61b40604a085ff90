"""Handlers and events."""

from __future__ import annotations

import asyncio

import pytest

from fedbench.errors import Overloaded, RemoteError
from fedbench.ids import current_node
from fedbench.messages import Kind
from fedbench.transport.inbox import Limits
from tests.conformance.backend import (
    CLIENT,
    SERVER,
    notify,
    settle,
    warnings_of,
    within,
)


class HandlingSuite:
    """Needs a ``backend`` fixture."""

    async def test_event_handlers_run_in_order_until_removed(self, backend):
        pair = await backend.make_pair()
        seen = []

        async def second(source, data):
            seen.append(("second", data))

        remove = pair.server.register_event_handler("tick", lambda source, data: seen.append(("first", data)))
        pair.server.register_event_handler("tick", second)
        await within((await pair.client.push_event(CLIENT, SERVER, "tick", 1)).applied)
        remove()
        remove()
        await within((await pair.client.push_event(CLIENT, SERVER, "tick", 2)).applied)
        await within((await pair.client.push_event(CLIENT, SERVER, "unheard", 3)).applied)
        assert seen == [("first", 1), ("second", 1), ("second", 2)]

    async def test_subscribers_hear_every_message_but_data(self, backend):
        pair = await backend.make_pair()
        seen = []
        stop = pair.server.subscribe(lambda message: seen.append((message.kind, message.source)))
        await pair.client.send(CLIENT, SERVER, "data")
        await within((await pair.client.push_event(CLIENT, SERVER, "a", None)).applied)
        await within(pair.near.send(notify("", None, Kind.HEARTBEAT)).applied)
        stop()
        stop()
        await within((await pair.client.push_event(CLIENT, SERVER, "b", None)).applied)
        assert seen == [(Kind.CLIENT_NOTIFY, CLIENT), (Kind.HEARTBEAT, CLIENT)]

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_a_handler_that_raises_tells_the_sender_and_leaves_one_warning(
        self, backend, caplog, asynchronous
    ):
        pair = await backend.make_pair()
        seen = []

        def fail(source, data):
            raise KeyError("boom")

        async def fail_later(source, data):
            await asyncio.sleep(0)
            raise KeyError("boom")

        pair.server.register_event_handler("bad", fail_later if asynchronous else fail)
        pair.server.register_event_handler("bad", lambda source, data: seen.append(data))
        receipt = await pair.client.push_event(CLIENT, SERVER, "bad", 1)
        with pytest.raises(RemoteError) as error:
            await within(receipt.applied)
        assert (error.value.node_id, error.value.type_name) == (SERVER, "KeyError")
        assert "boom" in error.value.message
        assert "Traceback" in error.value.traceback_text
        assert receipt
        assert seen == [1]
        (warning,) = warnings_of(caplog)
        assert SERVER in warning
        assert CLIENT in warning
        await within((await pair.client.push_event(CLIENT, SERVER, "fine", 2)).applied)

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_a_handler_that_raises_cancelled_error_does_not_cancel_the_sender(
        self, backend, caplog, asynchronous
    ):
        pair = await backend.make_pair()

        def fail(source, data):
            raise asyncio.CancelledError

        async def fail_later(source, data):
            raise asyncio.CancelledError

        pair.server.register_event_handler("bad", fail_later if asynchronous else fail)
        receipt = await pair.client.push_event(CLIENT, SERVER, "bad", 1)
        with pytest.raises(RemoteError) as error:
            await within(receipt.applied)
        assert error.value.type_name == "CancelledError"
        assert len(warnings_of(caplog)) == 1
        await within((await pair.client.push_event(CLIENT, SERVER, "fine", 2)).applied)

    @pytest.mark.parametrize(("limits", "most"), [(Limits(messages=2), 2), (Limits(nbytes=600), 3)])
    async def test_pushes_that_handlers_do_not_finish_are_bounded(self, backend, limits, most):
        pair = await backend.make_pair(limits)
        go = asyncio.Event()

        async def slow(source, data):
            await go.wait()

        pair.server.register_event_handler("slow", slow)
        receipts = []
        for number in range(most):
            receipts.append(await pair.client.push_event(CLIENT, SERVER, "slow", number))
            await within(receipts[-1].delivered)
        with pytest.raises(Overloaded, match="still work on"):
            await pair.client.push_event(CLIENT, SERVER, "slow", 9)
        await within(pair.near.send(notify("", None, Kind.HEARTBEAT)).applied)
        assert await pair.client.send(CLIENT, SERVER, "data")
        go.set()
        for receipt in receipts:
            await within(receipt.applied)
        assert await pair.client.push_event(CLIENT, SERVER, "slow", 10)

    async def test_handlers_run_as_their_node(self, backend):
        pair = await backend.make_pair()
        seen = []

        def plain(source, data):
            seen.append(("plain", current_node.get()))
            pair.far.send(notify("echo", source=SERVER, target=CLIENT))
            seen.append(("plain again", current_node.get()))

        async def coroutine(source, data):
            await asyncio.sleep(0)
            seen.append(("coroutine", current_node.get()))

        pair.server.register_event_handler("who", plain)
        pair.server.register_event_handler("who", coroutine)
        pair.client.register_event_handler(
            "echo", lambda source, data: seen.append(("echo", current_node.get()))
        )
        pair.far.on_closed(lambda connection, reason: seen.append(("closed", current_node.get())))
        await within((await pair.client.push_event(CLIENT, SERVER, "who", 1)).applied)
        await settle()
        pair.near.close()
        await settle()
        assert current_node.get() == ""
        assert dict(seen) == {
            "plain": SERVER,
            "plain again": SERVER,
            "coroutine": SERVER,
            "echo": CLIENT,
            "closed": SERVER,
        }

    async def test_what_the_accepting_side_sends_at_once_is_not_lost(self, backend, caplog):
        server, client = await backend.node(SERVER), await backend.node(CLIENT)
        receipts = []
        seen = []
        server.on_connection(
            SERVER,
            lambda connection: receipts.append(
                connection.send(notify("hi", 1, source=SERVER, target=CLIENT))
            ),
        )
        client.register_event_handler("hi", lambda source, data: seen.append(data))
        await client.connect(SERVER)
        await within(receipts[0].applied)
        assert seen == [1]
        assert warnings_of(caplog) == []

    async def test_a_handler_may_close_its_own_transport(self, backend):
        pair = await backend.make_pair()
        closed = asyncio.Event()

        async def leave(source, data):
            await pair.client.close()
            closed.set()

        pair.client.register_event_handler("leave", leave)
        await pair.server.push_event(SERVER, CLIENT, "leave", None)
        await within(closed.wait())
        assert pair.near.closed
