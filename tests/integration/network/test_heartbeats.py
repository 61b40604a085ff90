"""Heartbeats between a server and clients that know only what it tells them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fedbench.errors import PeerLost
from tests.fakes.proxy import Proxy
from tests.fakes.stranger import BEAT, TOLD, frame, message
from tests.integration.network.conftest import BAD, SERVER, WINDOW_S, until, within

HEARTBEAT_S = 0.6
STALL_S = 0.5
"""What a shared machine may be held up by; ``test_liveness`` holds the time itself to a fake clock."""


async def answered(impostor):
    """Answer the next beat; return when that was."""
    await within(impostor.receive(lambda kind, lane, payload: kind == BEAT))
    await impostor.send(message(frame(TOLD)))
    return asyncio.get_running_loop().time()


@pytest.mark.slow
async def test_links_stay_whatever_heartbeat_the_clients_are_configured_with(make_town, caplog):
    caplog.set_level(logging.INFO)
    odd = {"heartbeat_s": 1e-2, "resume_window_s": 1e-2}
    joining = {"yaml_client_1": odd}
    town = await make_town(
        lambda client_id: joining.get(client_id, {}), heartbeat_s=HEARTBEAT_S, resume_window_s=5.0
    )
    await asyncio.sleep(4 * HEARTBEAT_S)  # of real sockets, through which no link may be cut
    assert "is cut" not in caplog.text
    assert "has no link" not in caplog.text
    assert not town.ended


@pytest.mark.slow
async def test_links_by_events_and_posts_stay_too(make_town, caplog):
    caplog.set_level(logging.INFO)
    town = await make_town(heartbeat_s=HEARTBEAT_S)
    await town.leave()
    proxy = Proxy()
    proxy.mangle = lambda data: data.replace(b"Upgrade: websocket", b"X-Upgrade: websockt")
    await proxy.start(town.port)
    try:
        await town.join(BAD, port=proxy.port)
        await asyncio.sleep(4 * HEARTBEAT_S)  # likewise
        assert "going on by events and POSTs" in caplog.text
        assert "is cut" not in caplog.text
        assert not town.ended
        await town.clients.pop(BAD).stop()
    finally:
        await proxy.close()


@pytest.mark.slow
async def test_a_client_that_answers_stays_and_one_that_stops_is_noticed_in_time(make_town, caplog):
    caplog.set_level(logging.INFO)
    town = await make_town(heartbeat_s=HEARTBEAT_S)
    await town.leave()
    impostor = await town.impostor()
    for _ in range(5):
        last_s = await answered(impostor)
        assert "is cut" not in caplog.text
    await within(impostor.cut())
    silent_s = asyncio.get_running_loop().time() - last_s
    assert 0.7 * HEARTBEAT_S <= silent_s <= 1.5 * HEARTBEAT_S + STALL_S
    assert f"the link to {BAD} is cut: nothing came for" in caplog.text
    error = await town.end_of()
    assert (type(error), str(error)) == (PeerLost, f"lost {BAD}: no link for {WINDOW_S} s")
    await town.intact()


@pytest.mark.slow
async def test_a_line_that_falls_silent_is_noticed_in_time_on_both_sides(make_town, caplog):
    caplog.set_level(logging.INFO)
    town = await make_town(heartbeat_s=HEARTBEAT_S, resume_window_s=5.0)
    await town.leave()
    proxy = Proxy()
    await proxy.start(town.port)
    try:
        await town.join(BAD, port=proxy.port)
        await asyncio.sleep(HEARTBEAT_S)  # real sockets: their time cannot be injected
        proxy.silent = True
        began_s = asyncio.get_running_loop().time()
        await until(lambda: all(f"{one} has no link to" in caplog.text for one in (SERVER, BAD)))
        assert asyncio.get_running_loop().time() - began_s < 1.5 * HEARTBEAT_S + STALL_S
        proxy.silent = False
        assert (await town.round()).arrived == tuple(town.ids)
        await town.clients.pop(BAD).stop()
    finally:
        await proxy.close()


@pytest.mark.slow
async def test_a_server_that_beats_no_more_is_noticed_in_time_and_returned_to(make_town, caplog):
    caplog.set_level(logging.INFO)
    town = await make_town(heartbeat_s=HEARTBEAT_S, resume_window_s=5.0)
    began_s = asyncio.get_running_loop().time()
    town.federation.nodes.transport._pacemaker.close()
    await until(lambda: caplog.text.count(f"the link to {SERVER} is cut") == len(town.ids))
    assert asyncio.get_running_loop().time() - began_s < 1.5 * HEARTBEAT_S + STALL_S
    assert (await town.round()).arrived == tuple(town.ids)
    await asyncio.sleep(3 * HEARTBEAT_S)  # for what must not come
    assert caplog.text.count("is cut") == len(town.ids)
    assert not town.ended
