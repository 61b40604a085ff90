"""Tokens that are given, taken away or expire while a server serves."""

from __future__ import annotations

import os

import aiohttp
import pytest

from fedbench.errors import PeerLost, RoutingError
from tests.fakes.stranger import hello
from tests.integration.network.conftest import BAD, GOOD, SERVER, until, within

NOON = "2030-01-01T12:00:00Z"
NOON_S = 1893499200.0


class Guarded:
    """A federation whose clients have a token each, and what its server's file holds."""

    def __init__(self, folder):
        self._folder = folder
        self.lines = {client_id: f"{client_id} of-{client_id}" for client_id in (*GOOD, BAD)}
        self.path = self.save()

    def write(self, name, text):
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def save(self):
        return self.write("held", "\n".join(self.lines.values()))

    def mine(self, client_id):
        return {"token_file": self.write(client_id, f"of-{client_id}")}


@pytest.fixture
async def guarded(make_town, tmp_path):
    made = Guarded(tmp_path)
    made.town = await make_town(made.mine, token_file=made.path)
    made.watch = made.town.federation.nodes.transport._server.tokens
    made.watch.wall_s = lambda: NOON_S
    return made


async def test_a_token_is_known_and_unknown_as_soon_as_the_file_says_so(guarded, caplog):
    town = guarded.town
    await town.leave()
    known = guarded.lines.pop(BAD)
    guarded.save()
    with pytest.raises(RoutingError, match="refuses: no such token is known"):
        await town.join(BAD)
    guarded.lines[BAD] = known
    guarded.save()
    await town.intact()
    assert "of-yaml" not in caplog.text


async def test_who_is_inside_with_a_token_that_is_taken_out_is_ended_and_does_not_come_back(guarded, caplog):
    town = guarded.town
    client = town.clients[BAD]
    ended = []
    client.comm.control.monitor.on_disconnect(
        lambda peer_id: ended.append(client.comm.control.monitor.peers[peer_id].error)
    )
    del guarded.lines[BAD]
    guarded.save()
    stranger = await town.stranger()
    assert (await within(stranger.upgrade(BAD, hello(BAD, SERVER))))[0] == 401  # it makes the server look
    assert str(await town.end_of(BAD)) == f"lost {BAD}: its token is not known any more"
    await until(lambda: ended)
    assert isinstance(ended[0], PeerLost)
    assert "refuses: no such token is known" in str(ended[0])
    assert not set(town.ended) & set(GOOD)
    assert (await town.round()).arrived == GOOD
    assert f"lost client {BAD}: its token is not known any more" in caplog.text
    assert "of-yaml" not in caplog.text


async def test_an_expired_token_is_refused_and_ends_who_is_inside(guarded, caplog):
    town = guarded.town
    await town.leave()
    guarded.lines[BAD] += f" expires={NOON}"
    guarded.save()
    with pytest.raises(RoutingError, match="refuses: the token has expired"):
        await town.join(BAD)
    assert f"refused {BAD} at 127.0.0.1: the token has expired" in caplog.text
    guarded.watch.wall_s = lambda: NOON_S - 1
    await town.join(BAD)
    guarded.watch.wall_s = lambda: NOON_S
    await guarded.watch._look_late()
    assert str(await town.end_of(BAD)) == f"lost {BAD}: its token has expired"
    assert (await town.round()).arrived == GOOD


async def test_a_session_does_not_go_on_with_a_token_that_was_taken_out(guarded):
    town = guarded.town
    await town.leave()
    stranger = await town.stranger()
    shown = {"Authorization": f"Bearer of-{BAD}"}
    assert (await within(stranger.upgrade(BAD, hello(BAD, SERVER), **shown)))[0] == 101
    connection = town.federation.nodes.transport._connections[SERVER, BAD]
    await stranger.reset()
    del guarded.lines[BAD]
    guarded.save()
    again = await town.stranger()
    said = hello(BAD, SERVER, session=connection.secret)
    headers = {"X-Fedbench-Session": "MDEy"}  # as who speaks plain HTTP shows: it lets nobody past the look
    status, why = await within(again.upgrade(BAD, said, **shown, **headers))
    assert (status, why) == (401, "no such token is known")
    assert connection.closed


async def test_while_the_file_cannot_be_used_nobody_comes_and_those_inside_go_on(guarded, caplog):
    town = guarded.town
    await town.leave()
    os.chmod(guarded.path, 0o644)
    for _ in range(3):
        with pytest.raises(RoutingError, match="refuses: its token file cannot be used now"):
            await town.join(BAD)
    assert caplog.text.count("its mode must be 0600") == 1
    assert guarded.path in caplog.text
    assert (await town.round()).arrived == GOOD
    os.chmod(guarded.path, 0o600)
    await town.intact()


async def test_a_guest_whose_token_is_taken_out_is_ended(guarded):
    town = guarded.town
    await town.leave()
    url = f"http://127.0.0.1:{town.port}"
    headers = {"X-Fedbench-Client": BAD, "Authorization": f"Bearer of-{BAD}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{url}/api/register") as answer:
            told = await answer.json(content_type=None)
        shown = {"X-Fedbench-Session": told["session"]}
        async with http.post(f"{url}/api/heartbeat", headers=shown) as answer:
            assert answer.status == 204
        del guarded.lines[BAD]
        guarded.save()
        async with http.get(f"{url}/api/status") as answer:
            assert answer.status == 401
        assert isinstance(await town.end_of(BAD), PeerLost)
        async with http.post(f"{url}/api/heartbeat", headers=shown) as answer:
            assert answer.status == 401
