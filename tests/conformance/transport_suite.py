"""What every transport must do. A backend says how nodes are made and killed; the rest is the same for all.

A backend that lacks a trait skips the tests that need it, by name; no assertion is looser for anyone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from fedbench.errors import (
    ConnectionBroken,
    ConnectionClosed,
    LocalProtocolError,
    Overloaded,
    PeerLost,
    RemoteError,
    RoutingError,
)
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.base import Limits, TransportBase
from fedbench.transport.connection import Connection
from fedbench.transport.receipt import Outcome

SERVER = "memory_server"
CLIENT = "memory_client_1"
OTHER = "memory_client_2"
WAIT_S = 10.0
DTYPES = ["?", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"]


@dataclass
class Pair:
    """A server and a client, connected.

    Attributes:
        server: The server's transport.
        client: The client's transport.
        near: The client's end of the connection.
        far: The server's end.
    """

    server: TransportBase
    client: TransportBase
    near: Connection
    far: Connection

    def balanced(self) -> bool:
        return self.near.ledger.balanced() and self.far.ledger.balanced()


@dataclass
class Backend:
    """How one scheme makes nodes.

    Attributes:
        scheme: Its name.
        make: ``make(node_id, limits, role)`` returns a transport; those of one backend reach each other.
        kill: Ends the node of a connection as a crash would.
        traits: What it can do beyond the common contract: ``shared`` (one transport serves several nodes).
    """

    scheme: str
    make: Callable[..., TransportBase]
    kill: Callable[[Connection], None]
    traits: frozenset[str] = frozenset()
    made: list[TransportBase] = field(default_factory=list)

    def need(self, trait: str) -> None:
        if trait not in self.traits:
            pytest.skip(f"{self.scheme} has no trait {trait!r}")

    async def node(
        self, node_id: str, limits: Limits | None = None, role: str | None = None
    ) -> TransportBase:
        transport = self.make(node_id, limits=limits, role=role)
        self.made.append(transport)
        await transport.start_event_listener()
        return transport

    async def make_pair(self, limits: Limits | None = None) -> Pair:
        server, client = await self.node(SERVER, limits), await self.node(CLIENT, limits)
        accepted: list[Connection] = []
        server.on_connection(SERVER, accepted.append)
        near = await client.connect(SERVER)
        return Pair(server, client, near, accepted[0])

    async def make_clogged_pair(self) -> Pair:
        """A pair of which the server has two messages that nobody receives, and room for no more."""
        pair = await self.make_pair(Limits(messages=2))
        for number in (1, 2):
            await within((await pair.client.send(CLIENT, SERVER, number)).delivered)
        return pair

    @contextlib.asynccontextmanager
    async def closing(self) -> AsyncIterator[Backend]:
        try:
            yield self
        finally:
            for transport in self.made:
                await transport.close()


async def within(awaitable):
    """Wait for something that must come."""
    async with asyncio.timeout(WAIT_S):
        return await awaitable


async def settle() -> None:
    """Let everything run that can run by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


def notify(method: str, body=None, kind: Kind = Kind.CLIENT_NOTIFY, source=CLIENT, target=SERVER) -> Message:
    return Message(kind, source, target, method, body)


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class TransportSuite:
    """Subclass with a ``backend`` fixture."""

    # Data ----------------------------------------------------------------------------------------------

    async def test_data_arrives_in_order_in_both_directions(self, backend):
        pair = await backend.make_pair()
        for number in range(200):
            await pair.client.send(CLIENT, SERVER, number)
            await pair.server.send(SERVER, CLIENT, -number)
        up = [await within(pair.server.receive(SERVER, CLIENT)) for _ in range(200)]
        down = [await within(pair.client.receive(CLIENT, SERVER)) for _ in range(200)]
        assert up == list(range(200))
        assert down == [-number for number in range(200)]

    async def test_each_sender_has_its_own_queue(self, backend):
        pair = await backend.make_pair()
        other = await backend.node(OTHER)
        await pair.client.send(CLIENT, SERVER, "one")
        await other.send(OTHER, SERVER, "two")
        assert await within(pair.server.receive(SERVER, OTHER)) == "two"
        assert await within(pair.server.receive(SERVER, CLIENT)) == "one"

    @pytest.mark.parametrize(
        "data", [None, "", b"", [], {}, 0, False, [[]], {"": None}, "ü\0🙂", {1: b"\xff"}]
    )
    async def test_empty_and_odd_payloads_arrive_as_they_are(self, backend, data):
        pair = await backend.make_pair()
        await pair.client.send(CLIENT, SERVER, data)
        received = await within(pair.server.receive(SERVER, CLIENT))
        assert received == data
        assert type(received) is type(data)

    @pytest.mark.slow
    async def test_64_mib_of_bytes(self, backend):
        pair = await backend.make_pair()
        data = bytes(range(256)) * (1 << 18)
        await pair.client.send(CLIENT, SERVER, data)
        assert await within(pair.server.receive(SERVER, CLIENT)) == data

    @pytest.mark.slow
    async def test_a_64_mib_model(self, backend):
        pair = await backend.make_pair()
        model = ModelState.from_arrays({"w": np.arange(1 << 24, dtype=np.float32)}, version=9)
        await pair.client.send(CLIENT, SERVER, model)
        received = await within(pair.server.receive(SERVER, CLIENT))
        assert received == model
        assert received.version == 9

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 5), (2, 1, 2, 1, 2, 1, 2, 1)])
    async def test_tensors_keep_dtype_shape_and_bits_and_are_contiguous(self, backend, dtype, shape):
        pair = await backend.make_pair()
        rng = np.random.default_rng(1)
        wide = rng.integers(0, 2, (*shape, 2)).astype(dtype)
        source = wide[..., 0].T  # neither contiguous nor aligned
        await pair.client.send(CLIENT, SERVER, ModelState.from_arrays({"first": np.ones(3), "w": source}))
        received = (await within(pair.server.receive(SERVER, CLIENT)))["w"]
        assert received.dtype == source.dtype
        assert received.shape == source.shape
        assert received.tobytes() == source.tobytes()
        assert received.flags.c_contiguous
        assert received.ctypes.data % 64 == 0

    async def test_received_tensors_cannot_be_written(self, backend):
        pair = await backend.make_pair()
        await pair.client.send(CLIENT, SERVER, ModelState.from_arrays({"w": np.zeros(4)}))
        array = (await within(pair.server.receive(SERVER, CLIENT)))["w"]
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        base = array.base
        while isinstance(base, np.ndarray):
            assert not base.flags.writeable
            base = base.base
        assert memoryview(base).readonly

    async def test_changing_what_was_sent_or_received_changes_nothing_for_the_other(self, backend):
        pair = await backend.make_pair()
        data = {"list": [1, 2], "inner": {"a": 1}}
        array = np.ones(4)
        await pair.client.send(CLIENT, SERVER, data)
        await pair.client.send(CLIENT, SERVER, ModelState.from_arrays({"w": array}))
        message = notify("kept", [1])
        seen = []
        pair.server.register_event_handler("kept", lambda source, body: seen.append(body))
        await within(pair.near.send(message).applied)
        data["list"].append(3)
        data["inner"].clear()
        array[:] = 7
        message.body.append(2)
        received = await within(pair.server.receive(SERVER, CLIENT))
        assert received == {"list": [1, 2], "inner": {"a": 1}}
        received["list"].clear()
        assert data["list"] == [1, 2, 3]
        assert (await within(pair.server.receive(SERVER, CLIENT)))["w"].tolist() == [1, 1, 1, 1]
        assert seen == [[1]]

    async def test_what_is_not_plain_data_is_refused_and_not_counted(self, backend):
        pair = await backend.make_pair()
        for bad in (object(), {"a": {1, 2}}, np.zeros(2), {None: 1}):
            with pytest.raises(LocalProtocolError):
                await pair.client.send(CLIENT, SERVER, bad)
        with pytest.raises(LocalProtocolError, match="push takes a ModelState"):
            await pair.client.push(CLIENT, [SERVER], {"w": 1})
        assert pair.near.ledger.accepted == 0
        await pair.client.send(CLIENT, SERVER, "fine")
        assert await within(pair.server.receive(SERVER, CLIENT)) == "fine"

    # Receiving -----------------------------------------------------------------------------------------

    async def test_receive_waits_for_what_comes_later(self, backend):
        pair = await backend.make_pair()
        receiving = asyncio.create_task(pair.server.receive(SERVER, CLIENT))
        await settle()
        assert not receiving.done()
        await pair.client.send(CLIENT, SERVER, "late")
        assert await within(receiving) == "late"

    async def test_receivers_are_served_in_the_order_in_which_they_asked(self, backend):
        pair = await backend.make_pair()
        receiving = [asyncio.create_task(pair.server.receive(SERVER, CLIENT)) for _ in range(5)]
        await settle()
        for number in range(5):
            await pair.client.send(CLIENT, SERVER, number)
        assert await within(asyncio.gather(*receiving)) == [0, 1, 2, 3, 4]

    async def test_receive_times_out_and_names_both_ends(self, backend):
        pair = await backend.make_pair()
        with pytest.raises(TimeoutError, match=f"'{CLIENT}' to '{SERVER}' within 0.01 s"):
            await pair.server.receive(SERVER, CLIENT, 0.01)
        await pair.client.send(CLIENT, SERVER, 1)
        assert await pair.server.receive(SERVER, CLIENT, WAIT_S) == 1

    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    async def test_cancelling_a_receive_loses_nothing_and_keeps_the_order(self, backend, turns):
        pair = await backend.make_pair()
        first = asyncio.create_task(pair.server.receive(SERVER, CLIENT))
        second = asyncio.create_task(pair.server.receive(SERVER, CLIENT))
        await settle()
        for number in (1, 2, 3):
            await pair.client.send(CLIENT, SERVER, number)
        for _ in range(turns):
            await asyncio.sleep(0)
        taken = [first.result()] if first.done() else []
        first.cancel()
        taken.append(await within(second))
        while len(taken) < 3:
            taken.append(await pair.server.receive(SERVER, CLIENT, WAIT_S))
        assert taken == [1, 2, 3]

    async def test_receive_for_a_foreign_node_is_refused(self, backend):
        pair = await backend.make_pair()
        with pytest.raises(RoutingError, match=f"'{SERVER}'.*'{OTHER}'"):
            await pair.server.receive(OTHER, SERVER)

    # Back-pressure -------------------------------------------------------------------------------------

    async def test_a_full_queue_refuses_at_once_and_counts_nothing(self, backend):
        pair = await backend.make_clogged_pair()
        accepted = pair.near.ledger.accepted
        with pytest.raises(Overloaded):
            pair.near.send(notify("", 3, Kind.DATA))
        assert pair.near.ledger.accepted == accepted
        assert pair.balanced()

    async def test_send_waits_for_room(self, backend):
        pair = await backend.make_clogged_pair()
        sending = asyncio.create_task(pair.client.send(CLIENT, SERVER, 3))
        await settle()
        assert not sending.done()
        assert await within(pair.server.receive(SERVER, CLIENT)) == 1
        assert await within(sending)
        assert [await within(pair.server.receive(SERVER, CLIENT)) for _ in range(2)] == [2, 3]

    async def test_waiting_senders_keep_their_order_and_a_later_one_does_not_overtake(self, backend):
        pair = await backend.make_clogged_pair()
        sending = []
        for number in range(3, 9):
            sending.append(asyncio.create_task(pair.client.send(CLIENT, SERVER, number)))
            await asyncio.sleep(0)
        received = []
        for number in range(9, 12):
            received.append(await within(pair.server.receive(SERVER, CLIENT)))
            sending.append(asyncio.create_task(pair.client.send(CLIENT, SERVER, number)))
        received += [await within(pair.server.receive(SERVER, CLIENT)) for _ in range(8)]
        await within(asyncio.gather(*sending))
        assert received == list(range(1, 12))

    async def test_a_cancelled_sender_leaves_its_room_to_the_next(self, backend):
        pair = await backend.make_clogged_pair()
        first = asyncio.create_task(pair.client.send(CLIENT, SERVER, "cancelled"))
        second = asyncio.create_task(pair.client.send(CLIENT, SERVER, 3))
        await settle()
        taken = await within(pair.server.receive(SERVER, CLIENT))
        first.cancel()
        await within(second)
        rest = [await within(pair.server.receive(SERVER, CLIENT)) for _ in range(2)]
        assert [taken, *rest] == [1, 2, 3]

    async def test_writable_wakes_when_there_is_room_and_when_the_connection_ends(self, backend):
        pair = await backend.make_clogged_pair()
        waiting = asyncio.create_task(pair.near.writable())
        await settle()
        assert not waiting.done()
        await within(pair.server.receive(SERVER, CLIENT))
        await within(waiting)
        await pair.client.send(CLIENT, SERVER, 3)
        waiting = asyncio.create_task(pair.near.writable())
        await settle()
        assert not waiting.done()
        pair.far.close()
        await within(waiting)

    async def test_a_sender_that_waits_is_told_of_the_end(self, backend):
        pair = await backend.make_clogged_pair()
        sending = asyncio.create_task(pair.client.send(CLIENT, SERVER, 3))
        await settle()
        pair.far.close()
        with pytest.raises(ConnectionBroken):
            await within(sending)

    async def test_the_bound_in_bytes_holds_too(self, backend):
        pair = await backend.make_pair(Limits(messages=100, nbytes=10_000))
        await within((await pair.client.send(CLIENT, SERVER, {"deep": [b"x" * 20_000]})).delivered)
        with pytest.raises(Overloaded):
            pair.near.send(notify("", 1, Kind.DATA))

    # Ending --------------------------------------------------------------------------------------------

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

    # Receipts ------------------------------------------------------------------------------------------

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

    # Order of the lanes ----------------------------------------------------------------------------------

    async def test_control_overtakes_waiting_business_and_each_keeps_its_order(self, backend):
        server, client = await backend.node(SERVER), await backend.node(CLIENT)
        kinds = [Kind.CLIENT_NOTIFY, Kind.MODEL_PUSH, Kind.HEARTBEAT, Kind.CLIENT_NOTIFY, Kind.STATUS]

        def greet(connection):
            for number, kind in enumerate(kinds):
                connection.send(notify(str(number), None, kind, SERVER, CLIENT))

        arrived, done = [], asyncio.Event()

        def take(message):
            arrived.append((message.kind, message.method))
            if len(arrived) == len(kinds):
                done.set()

        server.on_connection(SERVER, greet)
        client.subscribe(take)
        await client.connect(SERVER)
        await within(done.wait())
        control = [(Kind.HEARTBEAT, "2"), (Kind.STATUS, "4")]
        business = [(Kind.CLIENT_NOTIFY, "0"), (Kind.MODEL_PUSH, "1"), (Kind.CLIENT_NOTIFY, "3")]
        assert arrived == control + business

    async def test_answering_from_a_handler_keeps_the_order(self, backend):
        pair = await backend.make_pair()
        heard, done = [], asyncio.Event()

        def answer(source, number):
            heard.append(("server", number))
            if number < 5:
                pair.far.send(notify("back", number, source=SERVER, target=CLIENT))

        def back(source, number):
            heard.append(("client", number))
            pair.near.send(notify("there", number + 1))
            if number == 4:
                done.set()

        pair.server.register_event_handler("there", answer)
        pair.client.register_event_handler("back", back)
        pair.near.send(notify("there", 0))
        await within(done.wait())
        await settle()
        assert heard == [
            (who, number)
            for number in range(6)
            for who in ("server", "client")
            if (who, number) != ("client", 5)
        ]

    # Routing ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("source", "target"),
        [
            (CLIENT, "memory_client_99"),
            (CLIENT, OTHER),
            (CLIENT, CLIENT),
            ("stranger", SERVER),
            (OTHER, SERVER),
        ],
    )
    async def test_a_route_that_is_not_permitted_is_refused_once_by_name(
        self, backend, caplog, source, target
    ):
        pair = await backend.make_pair()
        await backend.node(OTHER)
        with pytest.raises(RoutingError) as refusal:
            await pair.client.send(source, target, 1)
        assert (refusal.value.source, refusal.value.target) == (source, target)
        assert source in str(refusal.value)
        assert target in str(refusal.value)
        (warning,) = warnings_of(caplog)
        assert source in warning
        assert target in warning
        assert pair.client.refused[f"{source}->{target}"] == 1

    async def test_a_server_does_not_connect_to_a_server(self, backend):
        pair = await backend.make_pair()
        await backend.node("yaml_fed_server")
        with pytest.raises(RoutingError, match="server to server"):
            await pair.server.connect("yaml_fed_server")

    async def test_a_named_node_has_the_role_it_was_given(self, backend):
        alice = await backend.node("alice", role="client")
        await backend.node("bob", role="client")
        await backend.node("carol", role="server")
        with pytest.raises(RoutingError, match="client to client"):
            await alice.connect("bob")
        assert (await alice.connect("carol")).peer_id == "carol"
        assert alice.role_of("alice") == "client"
        assert alice.role_of("nobody") is None

    @pytest.mark.parametrize(("source", "target"), [(OTHER, SERVER), (CLIENT, OTHER), (SERVER, CLIENT)])
    async def test_a_connection_carries_only_its_own_messages(self, backend, caplog, source, target):
        pair = await backend.make_pair()
        with pytest.raises(RoutingError, match=f"'{source}'.*'{target}'"):
            pair.near.send(notify("x", source=source, target=target))
        assert len(warnings_of(caplog)) == 1
        assert pair.near.ledger.accepted == 0

    async def test_an_id_is_served_once(self, backend):
        await backend.make_pair()
        with pytest.raises(RoutingError):
            await backend.node(SERVER)

    async def test_several_nodes_share_a_transport(self, backend):
        backend.need("shared")
        pair = await backend.make_pair()
        await pair.client.start_event_listener(OTHER)
        await pair.client.start_event_listener(OTHER)
        await pair.client.send(OTHER, SERVER, "from the other")
        assert await within(pair.server.receive(SERVER, OTHER)) == "from the other"
        await pair.server.send(SERVER, OTHER, "to the other")
        assert await within(pair.client.receive(OTHER, SERVER)) == "to the other"

    # Many targets ----------------------------------------------------------------------------------------

    async def test_broadcast_reaches_all_who_can_be_reached(self, backend, caplog):
        pair = await backend.make_pair()
        other = await backend.node(OTHER)
        receipts = await pair.server.broadcast(SERVER, [CLIENT, "memory_client_99", OTHER], {"round": 1})
        assert list(receipts) == [CLIENT, "memory_client_99", OTHER]
        assert [bool(receipt) for receipt in receipts.values()] == [True, False, True]
        assert isinstance(receipts["memory_client_99"].error, RoutingError)
        with pytest.raises(RoutingError):
            await receipts["memory_client_99"].delivered
        assert await within(pair.client.receive(CLIENT, SERVER)) == {"round": 1}
        assert await within(other.receive(OTHER, SERVER)) == {"round": 1}
        assert len(warnings_of(caplog)) == 1

    async def test_broadcast_waits_for_a_full_target_without_holding_up_the_others(self, backend):
        limits = Limits(messages=1)
        pair = await backend.make_pair(limits)
        other = await backend.node(OTHER, limits)
        await within((await pair.server.send(SERVER, CLIENT, "clog")).delivered)
        sending = asyncio.create_task(pair.server.broadcast(SERVER, [CLIENT, OTHER], "news"))
        assert await within(other.receive(OTHER, SERVER)) == "news"
        assert not sending.done()
        later = asyncio.create_task(pair.server.broadcast(SERVER, [CLIENT], "later"))
        await settle()
        received = [await within(pair.client.receive(CLIENT, SERVER)) for _ in range(3)]
        assert received == ["clog", "news", "later"]
        assert all((await within(sending)).values())
        assert all((await within(later)).values())

    async def test_push_hands_a_model_to_handlers_of_its_event_type(self, backend):
        pair = await backend.make_pair()
        model = ModelState.from_arrays({"w": np.arange(6.0).reshape(2, 3)}, version=4)
        seen = []
        pair.client.register_event_handler("model", lambda source, data: seen.append((source, data)))
        pair.client.register_event_handler("other", lambda source, data: seen.append("wrong"))
        receipts = await pair.server.push(SERVER, [CLIENT, "memory_client_99"], model)
        await within(receipts[CLIENT].applied)
        assert not receipts["memory_client_99"]
        assert seen == [(SERVER, model)]
        assert seen[0][1].version == 4

    # Handlers --------------------------------------------------------------------------------------------

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
