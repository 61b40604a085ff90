"""Peers that do wrong without end: what is logged of it stays short, and the others go on."""

from __future__ import annotations

import logging

import pytest

from fedbench.messages import Kind
from tests.fakes.commands import started
from tests.fakes.stranger import (
    CLIENT_NOTIFY,
    CONTROL,
    HEAD,
    REGISTER,
    RPC_REQUEST,
    Stranger,
    frame,
    head,
    hello,
    message,
)
from tests.integration.network.conftest import BAD, SERVER, free_port, member, until, within

OFTEN = 30


def lines(caplog, text):
    return [record for record in caplog.records if text in record.getMessage()]


async def junk(town):
    stranger = await town.stranger()
    await stranger.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    await within(stranger.cut())


async def forged(town):
    stranger = await town.stranger()
    await within(stranger.upgrade(BAD, "junk"))


async def no_frames(town):
    impostor = await town.impostor()
    await impostor.send(message(b"junk" * 40))
    await town.end_of(BAD)
    del town.ended[BAD]
    await impostor.reset()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (junk, "refused a request from 127.0.0.1"),
        (forged, "refused a handshake from 127.0.0.1"),
        (no_frames, f"closes its connection to {BAD}"),
    ],
)
async def test_who_comes_again_and_again_and_does_wrong_is_warned_of_once(town, caplog, wrong, text):
    for _ in range(OFTEN):
        await wrong(town)
    (line,) = lines(caplog, text)
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    await town.intact()
    await town.stop()
    (line,) = lines(caplog, "more like this within a minute, the last: ")
    assert line.getMessage().startswith(f"{OFTEN - 1} ")
    assert text in line.getMessage()


async def test_a_client_that_may_not_register_and_tries_without_end_is_warned_of_once(town, caplog):
    stranger = await town.stranger()
    assert (await within(stranger.upgrade("eve", hello("eve", SERVER))))[0] == 101
    for number in range(1, OFTEN + 1):
        await stranger.send(message(frame(HEAD, head(REGISTER, body={}), lane=CONTROL, number=number)))
    for _ in range(OFTEN):
        await within(stranger.receive(lambda kind, lane, payload: kind == HEAD and lane == CONTROL))
    assert len(lines(caplog, "eve is no client of this federation")) == 1
    await town.intact()


async def test_notices_whose_handler_fails_without_end_are_warned_of_once(town, caplog):
    def handler(message):
        raise ValueError("no such notice")

    town.comm.register_message_handler(Kind.CLIENT_NOTIFY, handler)
    impostor = await town.impostor()
    for number in range(1, OFTEN + 1):
        notice = head(CLIENT_NOTIFY, "x", number)
        await impostor.send(message(frame(HEAD, notice, lane=2, number=number)))
    await until(lambda: town.heard("client_notify") == OFTEN)
    assert len(lines(caplog, f"from {BAD} raised ValueError: no such notice")) == 1
    await impostor.reset()
    await town.end_of(BAD)


async def test_calls_that_fail_without_end_are_warned_of_once(town, caplog):
    impostor = await town.impostor()
    await impostor.register()
    for number in range(1, OFTEN + 1):
        call = head(RPC_REQUEST, "no_such_method", {"args": [], "kwargs": {}}, call=number)
        await impostor.send(message(frame(HEAD, call, lane=2, number=number)))
    for _ in range(OFTEN):
        await within(impostor.receive(lambda kind, lane, payload: kind == HEAD and lane == 2))
    assert len(lines(caplog, f"no_such_method called by {BAD} raised")) == 1
    await impostor.reset()
    await town.end_of(BAD)
    await town.intact()


@pytest.mark.slow
async def test_connections_that_say_nothing_keep_nobody_out(tmp_path):
    port = free_port()
    config = tmp_path / "federation.yaml"
    config.write_text(f"mode: network\nserver: {{transport: {{port: {port}}}}}\nclients: {{count: 3}}\n")
    strangers = []
    with started(tmp_path, "serve", "--config", config, descriptors=220) as command:
        await command.says("listening at")
        try:
            first, _ = member("yaml_client_1", 3, port=port)
            await within(first.start(SERVER))
            strangers += [await Stranger.dial(port) for _ in range(260)]
            second, _ = member("yaml_client_2", 3, port=port)
            await within(second.start(SERVER), 2.0)
            assert first.comm.get_connection_status()["peers"][SERVER]["state"] == "registered"
            assert command.said.count("do not say who they are: the oldest is cut for the newest") == 1
            await first.stop()
            await second.stop()
        finally:
            for stranger in strangers:
                await stranger.close()
