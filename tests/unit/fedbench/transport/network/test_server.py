"""What the port answers to those who are no nodes, or pretend to be others."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl

import aiohttp
import pytest
import trustme

from fedbench.codec import wire
from fedbench.codec.wire import MAX_FRAME_BYTES
from fedbench.errors import ConnectionBroken, RoutingError
from fedbench.transport.network import handshake, server
from fedbench.transport.network.handshake import PROTOCOL, Hello, to_header
from tests.fakes.frames import decode_frame, encode_frame, told
from tests.fakes.stranger import Stranger
from tests.pace import limit_s
from tests.unit.fedbench.transport.network.conftest import CLIENT, OTHER, SERVER, within


def hello(source=CLIENT, target=SERVER, role="client", **changes):
    return to_header(Hello(PROTOCOL, source, role, target, "clock", 1, **changes))


async def refused(net, path=f"/ws/{CLIENT}", said=None, **headers):
    """Return the status of a WebSocket that is refused, and why."""
    headers = {handshake.HELLO_HEADER: hello() if said is None else said, **headers}
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{net.server.port}{path}"
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await http.ws_connect(url, headers=headers)
    return error.value.status, error.value.headers


async def joined(http, net, said=None):
    headers = {handshake.HELLO_HEADER: said or hello()}
    return await http.ws_connect(f"http://127.0.0.1:{net.server.port}/ws/{CLIENT}", headers=headers)


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ("", 400, "cannot be read"),
        ("junk!", 400, "cannot be read"),
        (base64.urlsafe_b64encode(b"\xc1").decode(), 400, "cannot be read"),
        ("A" * 3000, 400, "oversized"),
        (hello(OTHER), 400, f"it is not {OTHER} whose place this is"),
        (hello(target="nobody"), 404, "client to client is not permitted"),
        (hello(role="server"), 404, "server to server is not permitted"),
        (hello(session=b"x" * 16), 410, "knows no such session"),
    ],
)
async def test_a_handshake_that_is_wrong_is_refused_by_name(net, said, status, reason):
    answered, headers = await refused(net, said=said)
    assert answered == status
    assert reason in headers[handshake.REFUSED_HEADER]


async def test_a_name_that_was_bound_to_loopback_is_refused(net):
    status, headers = await refused(net, Host="evil.example")
    assert (status, headers[handshake.REFUSED_HEADER]) == (421, "it is not called by that name")
    assert (await refused(net, said="", Host="localhost:80"))[0] == 400


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:99999999\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"GET /ws/alice HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\xff\r\n\r\n",
        b"POST /api/register HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Fedbench-Client: curl-1\r\n"
        b'Content-Length: 15\r\n\r\n{"server_id":{}',
        b"POST /api/register HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Fedbench-Client: curl-1\r\n"
        b'Content-Length: 16\r\n\r\n{"server_id":{}}',
        b"POST /api/register HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Fedbench-Client: curl-1\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_whatever_a_stranger_asks_is_its_fault_and_not_the_servers(net, request_, caplog):
    stranger = await Stranger.dial(net.server.port)
    await stranger.send(request_)
    assert (await within(stranger.answer()))[0] == 400
    await stranger.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_id_that_may_not_name_a_node_is_refused(net):
    status, headers = await refused(net, path="/ws/%0Aeve", said=hello("\neve"))
    assert status == 400
    assert "cannot name a node" in headers[handshake.REFUSED_HEADER]


async def test_a_head_of_a_request_beyond_its_limit_is_refused(net):
    reader, writer = await asyncio.open_connection("127.0.0.1", net.server.port)
    writer.write(b"GET /ws/alice HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 8000 + b"\r\n\r\n")
    assert b" 400 " in await within(reader.readline())
    writer.close()


async def test_a_connection_that_dribbles_is_cut(make_net, monkeypatch):
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.1)
    net = await make_net()
    reader, writer = await asyncio.open_connection("127.0.0.1", net.server.port)
    writer.write(b"GET /ws/alice HTTP/1.1\r\nHo")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await within(reader.readexactly(1))
    writer.close()
    client = net.client()
    await within(client.connect(SERVER))
    await asyncio.sleep(0.15)  # its own deadline was kept by its request
    assert await within((await client.push_event(CLIENT, SERVER, "x", 1)).applied) is None


async def test_who_goes_on_with_a_session_takes_its_own_place_where_all_are_taken(net):
    net.server._server._capacity = 1
    async with aiohttp.ClientSession() as http:
        first = await joined(http, net)
        (connection,) = net.server._connections.values()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await joined(http, net)
        again = await joined(http, net, hello(session=connection.secret))
        while (await within(first.receive())).type is aiohttp.WSMsgType.BINARY:
            pass
        assert connection.linked
        assert (await refused(net))[0] == 503
        assert (await refused(net, said=hello(session=b"x" * 16)))[0] == 503
        await again.close()
        async with asyncio.timeout(limit_s(5)):
            while connection.linked:
                await asyncio.sleep(0.001)
        await within(net.client(OTHER).connect(SERVER))
        assert (await refused(net, said=hello(session=connection.secret)))[0] == 503  # its place was taken


async def test_who_comes_too_many_is_told_to_come_later(net):
    net.server._server._capacity = 1
    client = net.client()
    await within(client.connect(SERVER))
    status, headers = await refused(net, f"/ws/{OTHER}", hello(OTHER))
    assert (status, headers["Retry-After"]) == (503, "10")
    with pytest.raises(RoutingError, match="it holds 1 clients and no more"):
        await within(net.client(OTHER).connect(SERVER))
    await client.close()
    late = net.client("carol")
    await within(late.connect(SERVER))


@pytest.fixture
def tokens(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


async def test_only_who_shows_a_token_is_heard_and_only_as_its_owner(make_net, tokens, caplog):
    net = await make_net({"token_file": tokens("server", "alice hers\nshared\n")})
    assert (await refused(net))[0] == 401
    assert (await refused(net, Authorization="Bearer wrong"))[0] == 401
    assert (await refused(net, f"/ws/{OTHER}", hello(OTHER), Authorization="Bearer hers"))[0] == 401
    await within(net.client(token_file=tokens("alice", "hers")).connect(SERVER))
    await within(net.client(OTHER, token_file=tokens("bob", "shared")).connect(SERVER))
    with pytest.raises(RoutingError, match="no such token is known"):
        await within(net.client("carol", token_file=tokens("carol", "expired")).connect(SERVER))
    assert "hers" not in caplog.text


async def test_the_status_tells_of_nodes_and_connections_to_those_who_may_ask(make_net, tokens):
    net = await make_net({"token_file": tokens("server", "shared\n")})
    client = net.client(token_file=tokens("alice", "shared"))
    await within(client.connect(SERVER))
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{net.server.port}/api/status"
        async with http.get(url) as response:
            assert response.status == 401
        async with http.get(url, headers={"Authorization": "Bearer shared"}) as response:
            told = await response.json()
    assert told["nodes"] == [SERVER]
    (connection,) = told["connections"]
    assert (connection["peer"], connection["epoch"], connection["linked"]) == (CLIENT, 1, True)
    assert connection["messages"]["accepted"] == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    made = trustme.CA()
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("127.0.0.1", CLIENT):
        made.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    trustme.CA().issue_cert(CLIENT).private_key_and_cert_chain_pem.write_to_path(str(folder / "forged.pem"))
    return lambda name: str(folder / f"{name}.pem")


async def test_over_tls(make_net, authority):
    net = await make_net({"tls": {"cert": authority("127.0.0.1")}}, tls={"ca": authority("ca")})
    client, _near, _far = await net.pair()
    assert await within((await client.push_event(CLIENT, SERVER, "x", 1)).applied) is None
    with pytest.raises(RoutingError, match="cannot be reached"):
        await within(net.client(OTHER, tls=None).connect(SERVER))
    with pytest.raises(RoutingError, match="cannot be reached"):
        await within(net.client(OTHER, tls={}).connect(SERVER))  # it knows nobody who vouches for the server


async def test_with_certificates_on_both_sides_a_client_is_who_its_certificate_says(make_net, authority):
    ca = authority("ca")
    net = await make_net({"tls": {"cert": authority("127.0.0.1"), "ca": ca}}, tls={"ca": ca})
    shown = {"cert": authority(CLIENT), "ca": ca}
    client, near, _far = await net.pair(tls=shown)
    assert await within((await client.push_event(CLIENT, SERVER, "x", 1)).applied) is None
    with pytest.raises(RoutingError, match=f"the certificate is that of {CLIENT}"):
        await within(net.client(OTHER, tls=shown).connect(SERVER))
    for bad in ({"ca": ca}, {"cert": authority("forged"), "ca": ca}):
        with pytest.raises(RoutingError):
            await within(net.client(CLIENT, tls=bad).connect(SERVER))
    assert not near.closed


def test_old_tls_is_not_spoken(authority):
    from fedbench.netsettings import NetworkSettings, TlsSettings
    from fedbench.transport.network.security import load

    context = load(NetworkSettings(tls=TlsSettings(authority("127.0.0.1"))), server=True).context
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


BAD = [
    (b"\x00" * 80, "no frame begins with"),
    (b"short", "truncated"),
    (encode_frame(wire.HEAD, told(), b"junk", lane=2, number=1), "truncated"),
    (encode_frame(wire.HEAD, told(), b"junk", lane=2, number=5), "1 is the next"),
    (encode_frame(wire.TOLD, told((9, 9, 9))), "are acknowledged"),
    (b"x" * (MAX_FRAME_BYTES + 1), "is oversized"),
    ("a text", "a text came instead of a frame"),
]


@pytest.mark.parametrize(("frame", "reason"), BAD, ids=[reason for _, reason in BAD])
async def test_a_client_that_breaks_the_protocol_is_cut_off_and_the_others_stay(net, frame, reason, caplog):
    accepted, ended = [], asyncio.get_running_loop().create_future()
    good, near, _ = await net.pair(node_id=OTHER)
    net.server.on_connection(SERVER, accepted.append)
    async with aiohttp.ClientSession() as http:
        socket = await joined(http, net)
        accepted[0].on_closed(lambda connection, why: ended.set_result(why))
        await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        why = await within(ended)
        assert type(why) is ConnectionBroken
        assert reason in str(why)
        last = b""
        while (message := await within(socket.receive())).type is aiohttp.WSMsgType.BINARY:
            last = message.data
        assert reason in decode_frame(last).payload.tobytes().decode()
        await socket.close()
    assert reason in caplog.text
    assert await within((await good.push_event(OTHER, SERVER, "x", 1)).applied) is None
    assert not near.closed
