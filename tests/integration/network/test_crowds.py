"""Many clients at once, more than there is room for, and a server that is killed under two hundred."""

from __future__ import annotations

import asyncio
import random

import pytest

from fedbench.errors import ConnectionBroken, PeerLost, RegistrationError, RoutingError
from fedbench.transport.network.backoff import Backoff
from tests.fakes.commands import started
from tests.fakes.stranger import Stranger, hello
from tests.integration.network.conftest import SERVER, free_port, member, until, within
from tests.pace import limit_s

CLIENTS, CROWD, ROUNDS = 200, 150, 2
CONFIG = """
mode: network
server:
  transport: {{port: {port}}}
  trainer: {{args: {{rounds: {rounds}, deadline_s: 20.0}}}}
clients: {{count: {clients}, learner: {{type: "tests.fakes.fleet:Stepper"}}}}
"""

pytestmark = pytest.mark.slow


@pytest.mark.timeout(40)
async def test_a_hundred_and_fifty_transports_of_one_process_reach_the_server_and_answer(make_town):
    town = await make_town(clients=CROWD, trainer={"quorum": 1.0})
    assert len(town.clients) == CROWD
    learners = town.federation.learners()
    answers = await within(asyncio.gather(*(learner.ping(n) for n, learner in enumerate(learners))))
    assert answers == list(range(CROWD))
    assert len((await town.round()).arrived) == CROWD


def serving(folder, port, clients, **options):
    """Start ``fedbench serve``."""
    config = folder / "federation.yaml"
    config.write_text(CONFIG.format(port=port, clients=clients, rounds=ROUNDS))
    return started(folder, "serve", "--config", config, **options)


class Returning:
    """A client that registers again, with jittered backoff, whenever it has lost its server.

    Attributes:
        reasons: Why it has lost it, each time.
    """

    def __init__(self, client_id, port):
        self.client, self.learner = member(client_id, CLIENTS, {}, port=port)
        self.reasons, self.tries = [], 0
        self.task = asyncio.create_task(self.join())
        self.client.comm.control.monitor.on_disconnect(self.lost)

    def lost(self, peer_id):
        error = self.client.comm.control.monitor.peers[peer_id].error
        self.reasons.append(error)
        if isinstance(error, PeerLost):
            self.task = asyncio.create_task(self.join())

    async def join(self):
        backoff = Backoff(random.random, 0.05)
        while True:
            try:
                await self.client.start(SERVER)
                return
            except (RoutingError, RegistrationError, ConnectionBroken):
                self.tries += 1
                await asyncio.sleep(backoff.delay_s())


@pytest.mark.timeout(60)
async def test_two_hundred_clients_notice_that_their_server_was_killed_and_register_at_the_next(tmp_path):
    port = free_port()
    clients = []
    try:
        with serving(tmp_path, port, CLIENTS + 1) as first:
            await first.says("listening at")
            clients = [Returning(f"yaml_client_{n}", port) for n in range(1, CLIENTS + 1)]
            await within(asyncio.gather(*(client.task for client in clients)), 20)
            first.process.kill()
        with serving(tmp_path, port, CLIENTS) as second:
            assert await second.ends(20) == 0, second.said
        assert f"round {ROUNDS}/{ROUNDS}  {CLIENTS}/{CLIENTS} clients" in second.said
        assert {type(client.reasons[0]) for client in clients} == {PeerLost}
        assert {client.reasons[0].reason.partition("refuses: ")[2] for client in clients} == {
            f"{SERVER} knows no such session of yaml_client_{n}" for n in range(1, CLIENTS + 1)
        }
        await until(lambda: all(len(client.reasons) == 2 for client in clients))
        assert [client.learner.trained for client in clients] == [[1, 2]] * CLIENTS
    finally:
        await asyncio.gather(*(client.client.stop() for client in clients))


@pytest.mark.timeout(40)
async def test_who_comes_beyond_the_descriptors_of_the_server_is_told_to_come_later(tmp_path):
    port = free_port()
    strangers, admitted, refused = [], [], []

    async def come(number):
        stranger = await Stranger.dial(port)
        strangers.append(stranger)
        said = hello(f"yaml_client_{number}", SERVER)
        return stranger, *await within(stranger.upgrade(f"yaml_client_{number}", said))

    with serving(tmp_path, port, CLIENTS, descriptors=220) as server:
        await server.says("listening at")
        try:
            for number in range(1, 121):
                stranger, status, why = await come(number)
                (admitted if status == 101 else refused).append((stranger, status, why))
            room = len(admitted)
            assert 20 < room < 92
            assert {(status, why) for _, status, why in refused} == {
                (503, f"it holds {room} clients and no more")
            }
            client, _ = member("yaml_client_150", CLIENTS, port=port)
            with pytest.raises(RoutingError, match=f"refuses: it holds {room} clients and no more"):
                await within(client.start(SERVER))
            asked = await Stranger.dial(port)
            strangers.append(asked)
            wanted = {"X-Fedbench-Hello": hello("yaml_client_151", SERVER)}
            status, headers = await within(asked.ask("/sse/yaml_client_151", **wanted))
            assert (status, headers["Retry-After"]) == (503, "10")
            assert b"accepted" in (await within(admitted[0][0].register()))[1]  # those inside go on
            await admitted[1][0].reset()
            async with asyncio.timeout(limit_s(10)):
                while True:
                    try:
                        await client.start(SERVER)
                        break
                    except RoutingError:
                        await asyncio.sleep(0.01)
            await client.stop()
        finally:
            for stranger in strangers:
                await stranger.close()
