"""The end of a connection, and what becomes of every accepted message."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from fedbench.errors import (
    ConnectionBroken,
    ConnectionClosed,
    Overloaded,
    PeerLost,
    RemoteError,
)
from fedbench.messages import Kind
from fedbench.transport.base import Limits
from fedbench.transport.receipt import Outcome
from tests.conformance.backend import (
    CLIENT,
    OTHER,
    SERVER,
    notify,
    settle,
    within,
)


class EndingSuite:
    """Needs a ``backend`` fixture."""

    # Ending ---------------------------------------------------------------------------------------

    async def test_closing_twice_is_closing_once(self, backend):
        pair = await backend.make_pair()
        ends = []
        pair.near.on_closed(lambda connection, reason: ends.append(reason))
        pair.near.close()
        pair.near.close()
        await pair.client.disconnect(SERVER)
        await pair.client.close()
        await pair.client.close()
        assert [type(reason) for reason in ends] == [ConnectionClosed]
        pair.near.on_closed(lambda connection, reason: ends.append(reason))
        assert len(ends) == 2

    async def test_both_ends_know_who_closed(self, backend):
        pair = await backend.make_pair()
        ended: asyncio.Future = asyncio.get_running_loop().create_future()
        pair.far.on_closed(lambda connection, reason: ended.set_result(reason))
        pair.near.close()
        with pytest.raises(ConnectionClosed):
            pair.near.send(notify("x"))
        assert type(await within(ended)) is ConnectionBroken
        with pytest.raises(ConnectionBroken):
            pair.far.send(notify("x", source=SERVER, target=CLIENT))
        assert pair.near.closed
        assert pair.far.closed
        assert "closed" in repr(pair.near)

    @pytest.mark.parametrize("how", ["close", "kill"])
    async def test_nobody_who_is_told_of_the_end_can_still_send(self, backend, how):
        pair = await backend.make_pair()
        ends = {CLIENT: pair.near, SERVER: pair.far}
        refused, both = [], asyncio.Event()

        def told(connection, reason):
            # Where both ends share a loop, neither can send any more as soon as one is told.
            for source in ends if "joint" in backend.traits else (connection.local_id,):
                target = SERVER if source == CLIENT else CLIENT
                with pytest.raises((ConnectionBroken, ConnectionClosed)):
                    ends[source].send(notify("late", source=source, target=target))
            refused.append(connection.local_id)
            if len(refused) == 2:
                both.set()

        for end in ends.values():
            end.on_closed(told)
        if how == "close":
            pair.near.close()
        else:
            backend.kill(pair.near)
        if "joint" in backend.traits:
            assert both.is_set()
        await within(both.wait())
        assert sorted(refused) == [CLIENT, SERVER]

    async def test_a_closed_transport_refuses_everything(self, backend):
        pair = await backend.make_pair()
        waiting = asyncio.create_task(pair.client.receive(CLIENT, OTHER))
        await settle()
        await pair.client.close()
        with pytest.raises(ConnectionClosed):
            await within(waiting)
        with pytest.raises(ConnectionClosed):
            await pair.client.send(CLIENT, SERVER, 1)
        with pytest.raises(ConnectionClosed):
            await pair.client.connect(SERVER)
        with pytest.raises(ConnectionClosed):
            await pair.client.start_event_listener()
        with pytest.raises((ConnectionClosed, ConnectionBroken)):
            await within(pair.client.receive(CLIENT, SERVER))
        with pytest.raises(ConnectionClosed):
            await within(pair.client.receive(CLIENT, "never_seen"))

    async def test_what_arrived_before_the_end_can_still_be_received(self, backend):
        pair = await backend.make_pair()
        await within((await pair.client.send(CLIENT, SERVER, "last words")).delivered)
        await pair.client.close()
        assert await within(pair.server.receive(SERVER, CLIENT)) == "last words"
        with pytest.raises(ConnectionBroken):
            await within(pair.server.receive(SERVER, CLIENT))

    async def test_a_peer_that_dies_is_lost(self, backend):
        pair = await backend.make_pair()
        receiving = asyncio.create_task(pair.server.receive(SERVER, CLIENT))
        await settle()
        backend.kill(pair.near)
        with pytest.raises(PeerLost, match=CLIENT) as lost:
            await within(receiving)
        assert lost.value.peer_id == CLIENT
        with pytest.raises(PeerLost):
            pair.far.send(notify("x", source=SERVER, target=CLIENT))
        with pytest.raises(ConnectionClosed):
            pair.near.send(notify("x"))

    async def test_death_while_a_handler_runs_ends_every_receipt(self, backend):
        pair = await backend.make_pair()
        started, never = asyncio.Event(), asyncio.Event()

        async def hang(source, data):
            started.set()
            await never.wait()

        pair.client.register_event_handler("hang", hang)
        receipt = await pair.server.push_event(SERVER, CLIENT, "hang", None)
        applied = asyncio.ensure_future(receipt.applied)
        await within(started.wait())
        backend.kill(pair.near)
        with pytest.raises(PeerLost):
            await within(applied)
        with pytest.raises(PeerLost):
            await within(receipt.applied)
        assert pair.balanced()
        assert pair.far.ledger.in_flight == 0

    async def test_an_application_first_awaited_after_the_end_is_told_too(self, backend):
        pair = await backend.make_pair()

        async def hang(source, data):
            await asyncio.Event().wait()

        pair.client.register_event_handler("hang", hang)
        receipt = await pair.server.push_event(SERVER, CLIENT, "hang", None)
        await within(receipt.delivered)
        backend.kill(pair.near)
        with pytest.raises(PeerLost):
            await within(receipt.applied)

    async def test_closing_ends_the_handlers_that_run(self, backend):
        pair = await backend.make_pair()
        ended = asyncio.Event()
        started = asyncio.Event()

        async def hang(source, data):
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        pair.client.register_event_handler("hang", hang)
        receipt = await pair.server.push_event(SERVER, CLIENT, "hang", None)
        await within(started.wait())
        await pair.client.close()
        assert ended.is_set()
        with pytest.raises((RemoteError, ConnectionBroken)):
            await within(receipt.applied)

    async def test_connecting_again_counts_the_epoch_and_works(self, backend):
        pair = await backend.make_pair()
        pair.near.close()
        await settle()
        again = await pair.client.connect(SERVER)
        assert again is not pair.near
        assert again.epoch == pair.near.epoch + 1
        assert await pair.client.connect(SERVER) is again
        await pair.client.send(CLIENT, SERVER, "again")
        assert await within(pair.server.receive(SERVER, CLIENT)) == "again"

    # Receipts -------------------------------------------------------------------------------------

    async def test_delivered_comes_before_applied(self, backend):
        pair = await backend.make_pair()
        go = asyncio.Event()

        async def slow(source, data):
            await go.wait()

        pair.server.register_event_handler("slow", slow)
        receipt = await pair.client.push_event(CLIENT, SERVER, "slow", 1)
        await within(receipt.delivered)
        assert receipt
        assert receipt.outcome is Outcome.ACKED
        applied = asyncio.ensure_future(receipt.applied)
        await settle()
        assert not applied.done()
        go.set()
        await within(applied)
        await within(receipt.applied)

    async def test_a_timeout_on_one_awaitable_leaves_the_others(self, backend):
        pair = await backend.make_pair()
        go = asyncio.Event()

        async def slow(source, data):
            await go.wait()

        pair.server.register_event_handler("slow", slow)
        receipt = await pair.client.push_event(CLIENT, SERVER, "slow", 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receipt.applied, 0.001)
        go.set()
        await within(receipt.applied)

    async def test_the_ledger_is_balanced_at_every_instant(self, backend):
        pair = await backend.make_pair(Limits(messages=4))
        checks = []
        pair.server.register_event_handler("check", lambda source, data: checks.append(pair.balanced()))
        for number in range(12):
            with contextlib.suppress(Overloaded):
                pair.near.send(notify("check" if number % 3 else "nobody"))
            checks.append(pair.balanced())
            with contextlib.suppress(Overloaded):
                pair.near.send(notify("", number, Kind.DATA))
            checks.append(pair.balanced())
        await settle()
        pair.near.send(notify("check"))
        backend.kill(pair.near)
        await settle()
        checks.append(pair.balanced())
        assert len(checks) > 25
        assert all(checks)
        assert pair.near.ledger.in_flight == 0
        counts = pair.near.ledger.counts()
        assert counts["accepted"] == counts["acked"] + counts["lost"]
