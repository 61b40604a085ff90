"""A client of a few lines of plain HTTP is a client like any other to the layers above."""

from __future__ import annotations

import asyncio
import json
import struct
from types import MappingProxyType, SimpleNamespace

import aiohttp
import msgspec
import numpy as np
import pytest

from fedbench.connection.communication import CommunicationManager
from fedbench.errors import RemoteError
from fedbench.messages import Kind
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.stub import LearnerStub
from fedbench.tensors.layout import decode_layout
from fedbench.tensors.model import ModelState
from fedbench.transport.network import gateway
from fedbench.transport.network.backend import NetworkTransport
from fedbench.transport.network.streaming import CLIENT_HEADER, SESSION_HEADER
from tests.unit.fedbench.transport.network.conftest import SERVER, within

GUEST = "curl-1"
MODEL = ModelState.from_arrays({"w": np.arange(100_000.0), "b": np.ones(3, np.float32)}, 7)


@pytest.fixture
async def there():
    """A server with all its layers, and a way to ask it."""
    transport = NetworkTransport(SERVER, resume_window_s=5.0)
    comm = CommunicationManager(SERVER, transport, role="server")
    held = GlobalModel()
    stub = LearnerStub(comm, held)
    await comm.start()
    held.model = MODEL
    http = aiohttp.ClientSession(f"http://127.0.0.1:{transport.port}")
    headers = {CLIENT_HEADER: GUEST}

    async def ask(path, body=None, method="POST", **more):
        async with http.request(method, path, json=body, headers={**headers, **more}) as answer:
            data = await answer.read()
            return answer.status, json.loads(data) if answer.content_type == "application/json" else data

    async def register():
        status, told = await ask("/api/register", {"server_id": SERVER})
        assert status == 200
        headers[SESSION_HEADER] = told["session"]
        return told

    yield SimpleNamespace(
        comm=comm, stub=stub, transport=transport, ask=ask, register=register, http=http, headers=headers
    )
    await http.close()
    await stub.close()
    await comm.close()


async def test_a_guest_registers_calls_notifies_and_leaves(there):
    told = await there.register()
    assert (told["server_id"], told["epoch"]) == (SERVER, 1)
    assert list(there.comm.control.admissions.ids()) == [GUEST]
    heard = []
    there.comm.register_message_handler(
        Kind.CLIENT_NOTIFY, lambda message: heard.append((message.source, message.method, message.body))
    )
    assert await there.ask("/notify", {"event": "hello", "data": {"a": [1, None]}}) == (204, b"")
    assert heard == [(GUEST, "hello", {"a": [1, None]})]
    assert await there.ask("/api/heartbeat") == (204, b"")
    assert await there.ask("/rpc/ping", {"body": "x"}) == (200, {"result": "x"})
    assert await there.ask("/rpc/ping", {"args": [1]}) == (200, {"result": {"args": [1], "kwargs": {}}})
    assert await there.ask("/api/unregister") == (204, b"")
    assert list(there.comm.control.admissions.ids()) == []
    assert (await there.ask("/api/heartbeat"))[0] == 410


async def test_models_are_fetched_by_version_as_bytes(there):
    await there.register()
    status, answer = await there.ask("/rpc/get_model", {})
    assert (status, answer["model"]) == (200, "/models/7")
    status, data = await there.ask("/models/7", method="GET")
    assert status == 200
    (size,) = struct.unpack_from("<I", data)
    layout = decode_layout(data[4 : 4 + size])
    assert layout == MODEL.layout
    assert data[4 + size :] == bytes(MODEL.buffer)
    for missing in ("/models/8", "/models/x"):
        assert (await there.ask(missing, method="GET"))[0] == 404


async def test_events_are_told_as_they_come(there):
    await there.register()
    assert (await there.ask("/rpc/subscribe", {"body": "model"}))[0] == 200
    assert GUEST in there.stub.subscribers["model"]
    async with there.http.get(f"/sse/{GUEST}", headers=there.headers) as events:
        assert events.content_type == "text/event-stream"
        await there.transport.push_event(SERVER, GUEST, "news", {"round": 1})
        lines = [await within(events.content.readline()) for _ in range(3)]
        assert lines == [b"event: news\n", b'data: {"data":{"round":1}}\n', b"\n"]
        receipts = await there.transport.push(SERVER, [GUEST], MODEL)
        lines = [await within(events.content.readline()) for _ in range(3)]
        assert json.loads(lines[1][6:]) == {"version": 7, "model": "/models/7"}
        await within(receipts[GUEST].applied)
        assert (await there.ask("/models/7", method="GET"))[0] == 200
        there.transport._connections[SERVER, GUEST].close()
        assert await within(events.content.read()) == b""


async def test_a_guest_answers_no_calls(there):
    await there.register()
    with pytest.raises(RemoteError, match="it speaks plain HTTP"):
        await within(RpcEndpoint.of(there.comm).call(GUEST, "train"))


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/rpc/no_such_method", {}, 502, "RemoteError"),
        ("/rpc/ping", {"deadline_s": 0}, 400, "ValueError"),
        ("/rpc/ping", [1], 400, "ValueError"),
        ("/notify", {"data": 1}, 400, "ValueError"),
        ("/notify", {"event": "x\ny"}, 400, "ValueError"),
        ("/notify", {"event": "x", "data": 2**70}, 400, "LocalProtocolError"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(there, path, body, status, error):
    await there.register()
    answered, told = await there.ask(path, body)
    assert (answered, told["error"]) == (status, error)


async def test_strangers_and_forgers_are_refused(there):
    assert (await there.ask("/api/heartbeat"))[0] == 410
    await there.register()
    assert (await there.ask("/notify", {"event": "x"}, **{SESSION_HEADER: "guessed"}))[0] == 410
    assert (await there.ask("/notify", {"event": "x"}, **{CLIENT_HEADER: "eve"}))[0] == 410
    assert (await there.ask("/api/register", {"server_id": "nobody"}))[0] == 404
    assert (await there.ask("/api/register", {}, **{CLIENT_HEADER: "no name"}))[0] == 400
    assert (await there.ask("/sse/eve", method="GET", **{CLIENT_HEADER: "eve"}))[0] == 410


async def test_registering_again_fences_the_earlier_guest(there):
    first = await there.register()
    second = await there.register()
    assert second["epoch"] == 2
    assert (await there.ask("/api/heartbeat", **{SESSION_HEADER: first["session"]}))[0] == 410
    assert (await there.ask("/api/heartbeat"))[0] == 204


async def test_bodies_and_guests_are_bounded(there, monkeypatch):
    await there.register()
    monkeypatch.setattr(gateway, "MAX_JSON_BYTES", 10)
    status, told = await there.ask("/notify", {"event": "x" * 20})
    assert (status, "oversized" in told["message"]) == (400, True)
    monkeypatch.setattr(gateway, "MAX_GUESTS", 1)
    assert (await there.ask("/api/register", **{CLIENT_HEADER: "curl-2"}))[0] == 429


async def test_an_answer_that_does_not_come_is_a_timeout(there):
    await there.register()
    guest = there.transport._server._gateway._guests[GUEST]
    with pytest.raises(TimeoutError):
        await guest.ask(Kind.STATUS_QUERY, "", {}, 0.01)


def test_junk_is_no_json():
    class Request:
        can_read_body = True
        headers = MappingProxyType({})
        content_length = 4

        class content:
            @staticmethod
            async def readexactly(count):
                return b"junk"

    with pytest.raises(ValueError, match="no JSON"):
        asyncio.run(gateway._body(Request))
    Request.content_length = None
    with pytest.raises(ValueError, match="how large"):
        asyncio.run(gateway._body(Request))
    assert msgspec.json.decode(b"{}") == {}


async def test_a_body_that_does_not_come_is_not_waited_for(there, monkeypatch):
    monkeypatch.setattr(gateway, "BODY_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", there.transport.port)
    head = f"POST /api/register HTTP/1.1\r\nHost: localhost\r\n{CLIENT_HEADER}: eve\r\n"
    writer.write(head.encode() + b"Content-Length: 99\r\n\r\n{")
    answer = await within(reader.read())  # to the end: the connection is closed, too
    assert b"504" in answer.splitlines()[0]
    assert b"TimeoutError" in answer
    writer.close()
