"""What a client sends right behind its request for a WebSocket: taken, or refused; never lost in silence."""

from __future__ import annotations

import pytest

from tests.fakes.stranger import CONTROL, HEAD, REGISTER, frame, head, hello, message
from tests.integration.network.conftest import BAD, SERVER, within

REGISTERING = message(frame(HEAD, head(REGISTER, body={}), lane=CONTROL, number=1))


async def answer_of(town, **options):
    stranger = await town.stranger()
    return stranger, *await within(stranger.upgrade(BAD, hello(BAD, SERVER), **options))


async def registered(stranger):
    _, payload = await within(stranger.receive(lambda kind, lane, payload: kind == HEAD and lane == CONTROL))
    return b"accepted" in payload


@pytest.mark.parametrize("cut", [len(REGISTERING), 1, len(REGISTERING) - 1])
async def test_frames_right_behind_the_request_are_taken(town, cut):
    stranger, status, _ = await answer_of(town, body=REGISTERING[:cut])
    assert status == 101
    await stranger.send(REGISTERING[cut:])
    assert await registered(stranger)


async def test_more_than_is_read_at_once_right_behind_the_request_is_taken(town):
    pings = message(bytes(125), 9) * 3000  # 390 kB
    stranger, status, _ = await answer_of(town, body=pings + REGISTERING)
    assert status == 101
    assert await registered(stranger)


async def test_junk_right_behind_the_request_is_no_frame(town, caplog):
    _, status, _ = await answer_of(town, body=message(b"junk" * 40))
    assert status == 101
    assert "no frame begins with" in str(await town.end_of(BAD))
    await town.intact()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Connection": "keep-alive"}, REGISTERING),
        ({"Content-Length": len(REGISTERING)}, REGISTERING),
        ({"Transfer-Encoding": "chunked"}, b"1\r\nx\r\n0\r\n\r\n" + REGISTERING),
    ],
)
async def test_a_request_behind_which_frames_would_be_read_as_something_else_is_refused(town, headers, body):
    stranger, status, _ = await answer_of(town, body=body, **headers)
    assert status == 400
    await within(stranger.cut())
    await town.intact()


async def test_what_comes_behind_a_request_that_is_refused_is_not_kept(town):
    stranger = await town.stranger()
    status, _ = await within(stranger.upgrade(BAD, hello(BAD, "nobody"), body=REGISTERING))
    assert status == 404
    await within(stranger.cut(), 2.0)
    await town.intact()
