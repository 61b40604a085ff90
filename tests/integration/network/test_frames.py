"""Frames that are malformed, truncated, oversized or dribble in: each ends in a named error, and alone."""

from __future__ import annotations

import asyncio

import pytest

from fedbench.errors import ConnectionBroken, PeerLost
from fedbench.transport.network import server
from tests.fakes.stranger import (
    BEAT,
    BINARY,
    BUSINESS,
    CHUNK,
    CLIENT_NOTIFY,
    CONTROL,
    GOODBYE,
    HEAD,
    HEARTBEAT,
    LARGEST,
    NEWS,
    TEXT,
    TOLD,
    frame,
    head,
    hello,
    message,
)
from tests.integration.network.conftest import BAD, SERVER, WINDOW_S, until, within

NOTE = head(CLIENT_NOTIFY, "note", 1)

MALFORMED = {
    "zeros": (message(bytes(80)), "no frame begins with"),
    "another magic number": (message(frame(TOLD, magic=0xFD)), "no frame begins with"),
    "an unknown type": (message(frame(99)), "no frame begins with"),
    "an unknown lane": (message(frame(HEAD, NOTE, lane=3, number=1)), "no frame begins with"),
    "a text": (message(b"hello", TEXT), "a text"),
    "a number that was not awaited": (message(frame(HEAD, NOTE, lane=BUSINESS, number=5)), "1 is the next"),
    "a head without a number": (message(frame(HEAD, NOTE, lane=BUSINESS)), "number 0 means nothing"),
    "a chunk without a head": (message(frame(CHUNK, b"x", lane=BUSINESS, number=1)), "without a head"),
    "a beat with a number": (message(frame(BEAT, number=1)), "means nothing"),
    "a chunk of nothing": (message(frame(CHUNK, lane=BUSINESS, number=1)), "means nothing"),
    "news that are none": (message(frame(HEAD, b"\xc1", lane=NEWS, number=1)), "news cannot be read"),
    "a receipt for what was not sent": (message(frame(TOLD, told=(9, 9, 9, 0, 0, 0))), "are acknowledged"),
    "work that was not given": (message(frame(TOLD, told=(0, 0, 0, 9, 9, 0))), "reported as applied"),
    "a number of 64 bits": (message(frame(HEAD, NOTE, lane=BUSINESS, number=2**64 - 1)), "is the next"),
    "a head that is no msgpack": (
        message(frame(HEAD, b"\1" + bytes(7) + b"\xc1", lane=BUSINESS, number=1)),
        "cannot be read",
    ),
    "a kind that does not exist": (
        message(frame(HEAD, head(99), lane=BUSINESS, number=1)),
        "no kind of message",
    ),
}
TRUNCATED = {
    "shorter than its header": (message(frame(TOLD)[:50]), "a frame of 50 bytes is truncated"),
    "of one byte": (message(b"\xfc"), "a frame of 1 bytes is truncated"),
    "of nothing": (message(b""), "a frame of 0 bytes is truncated"),
    "a head without its prefix": (message(frame(HEAD, b"four", lane=BUSINESS, number=1)), "truncated"),
}
OVERSIZED = {
    "a head": (message(frame(HEAD, bytes(33 << 10), lane=BUSINESS, number=1)), "oversized"),
    "a chunk": (message(frame(CHUNK, bytes((256 << 10) + 1), lane=BUSINESS, number=1)), "oversized"),
    "a beat": (message(frame(BEAT, b"x")), "oversized"),
    "a goodbye": (message(frame(GOODBYE, bytes(2001))), "oversized"),
    "a message": (message(bytes(LARGEST + 1)), str(LARGEST)),
    "a claim of 4 GiB": (message(b"", claim=1 << 32), str(LARGEST)),
    "a claim of the most that 63 bits can say": (message(b"", claim=(1 << 63) - 1), str(LARGEST)),
}
FAULTS = {
    f"{kind}: {name}": fault
    for kind, faults in (("malformed", MALFORMED), ("truncated", TRUNCATED), ("oversized", OVERSIZED))
    for name, fault in faults.items()
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_who_sends_what_no_frame_is_ends_by_name_and_alone(town, fault):
    data, reason = FAULTS[fault]
    impostor = await town.impostor()
    await impostor.send(data)
    error = await town.end_of()
    assert type(error) is ConnectionBroken
    assert f"{BAD} broke the protocol: " in str(error)
    assert reason in str(error)
    await impostor.close()
    await town.intact()


@pytest.mark.parametrize("first", [0xC2, 0x83, 0x8B], ids=["a reserved bit", "opcode 3", "opcode 11"])
async def test_what_is_no_websocket_ends_by_name_and_alone(town, first):
    impostor = await town.impostor()
    await impostor.send(message(b"x", first=first))
    error = await town.end_of()
    assert type(error) is ConnectionBroken
    assert "broke the protocol" in str(error)
    await impostor.close()
    await town.intact()


async def test_who_is_cut_off_is_told_why_first(town):
    impostor = await town.impostor()
    await impostor.send(message(bytes(80)))
    _, why = await within(impostor.receive(lambda kind, lane, payload: kind == GOODBYE))
    assert b"no frame begins with" in why


@pytest.mark.parametrize("part", [1, 60])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_message_that_is_cut_in_its_middle_is_a_link_that_ended(town, part, how):
    impostor = await town.impostor()
    await impostor.send(message(frame(HEAD, head(CLIENT_NOTIFY, "note", bytes(80)), lane=2, number=1))[:part])
    await asyncio.sleep(0.01)
    await getattr(impostor, how)()
    error = await town.end_of()
    assert type(error) is PeerLost
    assert str(error) == f"lost {BAD}: no link for {WINDOW_S} s"
    await town.intact()


async def test_frames_that_come_one_byte_at_a_time_work(town):
    stranger = await town.stranger()
    said = hello(BAD, SERVER)
    assert await within(stranger.upgrade(BAD, said, step=1)) == (101, "")
    _, answer = await within(stranger.register(step=1))
    assert b"accepted" in answer
    assert BAD in town.comm.get_connection_status()["registered"]
    beat = frame(HEAD, head(HEARTBEAT, body={}), lane=CONTROL, number=2)
    await stranger.send(message(beat), step=1)
    await until(lambda: town.heard("heartbeat"))
    await stranger.reset()
    await town.end_of()
    await town.intact()


async def test_a_message_in_pieces_is_one(town):
    impostor = await town.impostor()
    beat = frame(HEAD, head(HEARTBEAT, body={}), lane=CONTROL, number=1)
    pieces = [message(beat[:7], first=BINARY), message(b"", first=0), message(beat[7:], first=0x80)]
    await impostor.send(b"".join(pieces), step=50)
    await until(lambda: town.heard("heartbeat"))
    assert BAD not in town.ended


# Before anybody has said who it is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /ws/x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 8000 + b"\r\n\r\n",
        b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\n\r\n",
        b"GET /ws/x HTTP/1.1\r\n" + b"A: b\r\n" * 40 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
    ids=["a long header", "a long address", "many headers", "TLS", "nonsense"],
)
async def test_a_request_beyond_its_limits_is_refused(town, request_head):
    stranger = await town.stranger()
    await stranger.send(request_head)
    status, _ = await within(stranger.answer())
    assert status == 400
    await within(stranger.cut())
    await town.intact()


async def test_a_body_beyond_its_limit_is_refused_before_it_comes(town):
    for path in ("/api/register", "/api/message"):
        stranger = await town.stranger()
        headers = {"X-Fedbench-Client": BAD, "Content-Length": 1 << 40}
        status, _ = await within(stranger.ask(path, method="POST", **headers))
        assert status in (400, 410)
    await town.intact()


@pytest.fixture
def deadline_s(monkeypatch):
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.2)
    return 0.2


async def dribble(stranger, data):
    """Send one byte each 20 ms until the connection is cut; return after how many seconds it was."""
    loop = asyncio.get_running_loop()
    began_s, cut = loop.time(), asyncio.create_task(stranger.cut())
    for byte in data:
        if cut.done():
            break
        stranger.writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    await within(cut, 2.0)
    return loop.time() - began_s


@pytest.mark.slow
async def test_who_dribbles_its_request_is_cut_at_the_deadline(make_town, deadline_s):
    town = await make_town()
    await town.leave()
    request_head = b"GET /ws/yaml_client_3 HTTP/1.1\r\n" + b"A: b\r\n" * 20
    strangers = [await town.stranger() for _ in range(20)]
    times_s = await asyncio.gather(*(dribble(one, request_head) for one in strangers))
    assert max(times_s) < deadline_s + 1.0
    await town.intact()


@pytest.mark.slow
async def test_who_dribbles_a_second_request_after_one_that_was_refused_is_cut(make_town, deadline_s):
    town = await make_town()
    await town.leave()
    stranger = await town.stranger()
    assert (await within(stranger.ask("/nowhere", **{"X-Fedbench-Client": BAD})))[0] == 404
    took_s = await dribble(stranger, b"GET /ws/x HTTP/1.1\r\n" + b"A: b\r\n" * 20)
    assert took_s < deadline_s + 1.0
    await town.intact()


@pytest.mark.slow
async def test_who_is_silent_in_a_tls_handshake_is_cut_at_the_deadline(make_town, deadline_s, certificates):
    tls = {"ca": certificates("ca")}
    town = await make_town({"tls": tls}, tls={"cert": certificates("127.0.0.1")})
    await town.leave()
    strangers = [await town.stranger() for _ in range(2)]
    await strangers[0].send(b"\x16\x03\x01")
    for stranger in strangers:
        assert await dribble(stranger, b"") < deadline_s + 1.0
    await town.intact()
