"""Where no WebSocket gets through: the same messages by events and POSTs."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.wire import MAX_FRAME_BYTES
from fedbench.errors import ConnectionBroken, RemoteProtocolError, RoutingError
from fedbench.tensors.model import ModelState
from fedbench.transport.network import streaming
from fedbench.transport.network.streaming import ClientStream, decode_event, encode_event
from tests.unit.fedbench.transport.network.conftest import CLIENT, SERVER, within
from tests.unit.fedbench.transport.network.test_backend import ended, event_of, linked

MODEL = ModelState.from_arrays({"w": np.arange(1 << 18, dtype=np.float64)}, 3)  # 2 MiB


def no_upgrade(data):
    """Do to a request what a proxy does that has never heard of WebSockets."""
    return data.replace(b"Upgrade: websocket", b"X-Upgrade: websockt")


@pytest.fixture
async def behind(make_net, caplog):
    caplog.set_level(logging.INFO)
    net = await make_net()
    net.proxy.mangle = no_upgrade
    return net


@given(st.binary(max_size=300))
def test_events_come_back_as_they_went(frame):
    (line, empty, rest) = encode_event(frame).split(b"\n")
    assert decode_event(line + b"\n") == frame
    assert empty == rest == b""
    assert decode_event(empty) is None
    assert decode_event(b": a comment") is None


def test_an_event_that_is_no_frame_is_refused():
    with pytest.raises(RemoteProtocolError, match="an event is no frame"):
        decode_event(b"data: ?!\n")


async def test_a_client_falls_back_by_itself_and_says_so_once(behind, caplog):
    client, near, far = await behind.pair()
    came, went = event_of(behind.server), event_of(client)
    for number in range(5):
        await client.push_event(CLIENT, SERVER, "tick", number)
        await behind.server.push_event(SERVER, CLIENT, "tick", -number)
    assert [await within(came.get()) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [await within(went.get()) for _ in range(5)] == [0, -1, -2, -3, -4]
    up = await client.push_event(CLIENT, SERVER, "tick", MODEL)
    down = await behind.server.push_event(SERVER, CLIENT, "tick", MODEL)
    assert await within(came.get()) == await within(went.get()) == MODEL
    await within(asyncio.gather(up.applied, down.applied))
    behind.proxy.cut()
    await within(linked(near, False))
    await client.push_event(CLIENT, SERVER, "tick", "again")
    assert await within(came.get()) == "again"
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["no WebSocket gets through" in record.getMessage() for record in warnings] == [True]
    assert near.ledger.balanced()
    assert far.ledger.balanced()


@pytest.mark.parametrize("who", ["client", "server"])
async def test_both_ends_may_close(behind, who):
    client, near, far = await behind.pair()
    (client if who == "client" else behind.server)._connections.copy().popitem()[1].close()
    assert type(await ended(far if who == "client" else near)) is ConnectionBroken
    await within(behind.server.close())


async def test_who_is_refused_does_not_fall_back(make_net, caplog):
    net = await make_net()
    with pytest.raises(RoutingError, match="client to client"):
        await within(net.client().connect("bob"))
    assert "falling back" not in caplog.text
    assert net.proxy.connections == 1


async def test_a_stream_that_is_refused_is_named(behind):
    with pytest.raises(RoutingError, match="client to client"):
        await within(behind.client().connect("bob"))


async def test_only_who_has_the_secret_posts_frames(behind):
    _, near, _ = await behind.pair()
    url = f"http://127.0.0.1:{behind.server.port}/api/message"
    shown = {streaming.CLIENT_HEADER: CLIENT, streaming.SESSION_HEADER: streaming.to_header(near.secret)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        for headers in (
            {},
            {**shown, streaming.SESSION_HEADER: "guessed"},
            {**shown, streaming.CLIENT_HEADER: "eve"},
        ):
            async with http.post(url, data=b"x", headers=headers) as answer:
                assert answer.status == 410
        async with http.post(url, data=b"x" * (MAX_FRAME_BYTES + 1), headers=shown) as answer:
            assert answer.status == 413
        assert not near.closed
        async with http.post(url, data=b"junk", headers=shown) as answer:
            assert answer.status == 204
    assert "truncated" in str(await ended(near))


async def test_a_server_that_sends_no_frames_is_refused():
    class Response:
        class content:
            @staticmethod
            async def readline():
                return b"data: ?!\n"

    stream = ClientStream(None, Response, "", {})
    with pytest.raises(RemoteProtocolError, match="an event is no frame"):
        await stream.receive()
