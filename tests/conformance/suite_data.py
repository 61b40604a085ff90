"""Data, receiving and back-pressure: what ``send`` and ``receive`` promise."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fedbench.errors import (
    ConnectionBroken,
    LocalProtocolError,
    Overloaded,
    RoutingError,
)
from fedbench.messages import Kind
from fedbench.tensors.model import ModelState
from fedbench.transport.base import Limits
from tests.conformance.backend import (
    CLIENT,
    DTYPES,
    OTHER,
    SERVER,
    WAIT_S,
    notify,
    settle,
    within,
)


class DataSuite:
    """Needs a ``backend`` fixture."""

    # Data -----------------------------------------------------------------------------------------

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

    # Receiving ------------------------------------------------------------------------------------

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

    # Back-pressure --------------------------------------------------------------------------------

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

    async def test_a_sender_that_waits_is_told_of_the_end_even_if_the_peer_comes_back_at_once(self, backend):
        pair = await backend.make_clogged_pair()
        waiting = asyncio.create_task(pair.client.send(CLIENT, SERVER, 3))
        await settle()
        await pair.server.disconnect(CLIENT)
        await pair.client.connect(SERVER)
        with pytest.raises(ConnectionBroken):
            await within(waiting)

    async def test_the_bound_in_bytes_holds_too(self, backend):
        pair = await backend.make_pair(Limits(messages=100, nbytes=10_000))
        await within((await pair.client.send(CLIENT, SERVER, {"deep": [b"x" * 20_000]})).delivered)
        with pytest.raises(Overloaded):
            pair.near.send(notify("", 1, Kind.DATA))
