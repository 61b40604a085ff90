"""Who may send to whom, to many at once, and in which order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fedbench.errors import (
    RoutingError,
)
from fedbench.messages import Kind
from fedbench.tensors.model import ModelState
from fedbench.transport.base import Limits
from tests.conformance.backend import (
    CLIENT,
    OTHER,
    SERVER,
    notify,
    settle,
    warnings_of,
    within,
)


class RoutingSuite:
    """Needs a ``backend`` fixture."""

    # Order of the lanes ---------------------------------------------------------------------------

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

    async def test_first_messages_that_overlap_open_one_connection_and_all_arrive(self, backend):
        server, client = await backend.node(SERVER), await backend.node(CLIENT)
        opened = []
        server.on_connection(SERVER, opened.append)
        receipts = await within(asyncio.gather(*(client.send(CLIENT, SERVER, i) for i in range(5))))
        assert [await within(server.receive(SERVER, CLIENT)) for _ in range(5)] == list(range(5))
        await within(asyncio.gather(*(receipt.delivered for receipt in receipts)))
        assert len(opened) == 1

    async def test_nodes_that_connect_to_each_other_at_once_share_one_connection(self, backend):
        if not backend.dials:
            pytest.skip("a server of this scheme opens no connections: trait dials")
        server, client = await backend.node(SERVER), await backend.node(CLIENT)
        near, far = await within(asyncio.gather(client.connect(SERVER), server.connect(CLIENT)))
        await settle()
        assert not near.closed
        assert not far.closed
        await client.send(CLIENT, SERVER, "up")
        await server.send(SERVER, CLIENT, "down")
        assert await within(server.receive(SERVER, CLIENT)) == "up"
        assert await within(client.receive(CLIENT, SERVER)) == "down"

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

    # Routing --------------------------------------------------------------------------------------

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

    # Many targets ---------------------------------------------------------------------------------

    async def test_broadcast_reaches_all_who_can_be_reached(self, backend, caplog):
        pair = await backend.make_pair()
        other = await backend.client(OTHER)
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
        other = await backend.client(OTHER, limits)
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
