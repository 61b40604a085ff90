"""A federation whose server and clients speak over real sockets, and strangers who speak to its server."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path

import numpy as np
import pytest
import trustme

from fedbench.config import from_mapping
from fedbench.federation import Federation
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.push import PushClient, client_node
from fedbench.transport.network.backend import NetworkTransport
from fedbench.values import ClientInfo, TrainResult
from tests.fakes.federations import mapping
from tests.fakes.fleet import Stepper
from tests.fakes.stranger import Stranger, hello
from tests.pace import limit_s

SERVER, GOOD, BAD = "yaml_fed_server", ("yaml_client_1", "yaml_client_2"), "yaml_client_3"
WINDOW_S = 0.2


async def within(awaitable, timeout_s=10.0):
    async with asyncio.timeout(limit_s(timeout_s)):
        return await awaitable


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(limit_s(timeout_s)):
        while not condition():
            await asyncio.sleep(0.002)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes():
    """Return how much memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Quick(Stepper):
    """Trains in the loop, without a thread.

    Attributes:
        trained: Rounds that it has trained in, in order.
    """

    def __init__(self, client, **args):
        super().__init__(client, **args)
        self.trained = []

    async def train(self, model, round_info):
        self.trained.append(round_info.number)
        draft = model.draft()
        np.add(model["w"], self.client.index + 1, out=draft["w"])
        return TrainResult(draft.freeze(), 1)


def member(client_id, count, args=None, **settings):
    """Return a client that joins as ``fedbench join`` does, and its learner."""
    transport = NetworkTransport(client_id, role="client", **settings)
    transport.first_delay_s = 0.02
    index = int(client_id.rpartition("_")[2]) - 1
    learner = Quick(ClientInfo(client_id, index, count, 0), **(args or {}))
    return PushClient(client_node(client_id, transport), LearnerDispatcher(learner, client_id)), learner


class Town:
    """A federation in one process: two good clients, and one in whose place others come.

    Args:
        joining: How clients reach the server, beside its address; or a function that says so of a client.
        transport: How the server listens.
        clients: How many clients there are.
        args: Arguments of their learners.
        trainer: Arguments of the trainer.

    Attributes:
        federation: The federation.
        clients: Those that have joined, by id.
        learners: Their learners, by id.
        ended: Clients whose connection is over, each with the error that it was.
    """

    def __init__(self, joining, transport, *, clients=3, args=None, trainer=None):
        trainer = {"rounds": 1, "quorum": 0.5, "deadline_s": 5.0, **(trainer or {})}
        transport = {"resume_window_s": WINDOW_S, **transport}
        settings = mapping(
            "network", clients, "tests.fakes.fleet:Stepper", args, trainer, transport=transport
        )
        self.told = []
        self.ids = [f"yaml_client_{number}" for number in range(1, clients + 1)]
        self.args = args
        self.federation = Federation(from_mapping(settings), by_hand=self.told.append)
        self.comm = self.federation.nodes.side.comm
        self.joining = joining if callable(joining) else lambda client_id: joining
        self.clients, self.learners, self.strangers, self.ended = {}, {}, [], {}

    @property
    def port(self):
        return self.federation.nodes.transport.port

    async def start(self):
        monitor = self.comm.control.monitor
        monitor.on_disconnect(lambda peer_id: self.ended.update({peer_id: monitor.peers[peer_id].error}))
        starting = asyncio.create_task(self.federation.start())
        await until(lambda: self.told or starting.done())
        if not starting.done():
            await asyncio.gather(*(self.join(client_id) for client_id in self.ids))
        await within(starting)
        return self

    async def join(self, client_id, **joining):
        """Have a client come."""
        told = {"port": self.port, **self.joining(client_id), **joining}
        client, self.learners[client_id] = member(client_id, len(self.ids), self.args, **told)
        try:
            await within(client.start(SERVER))
        except BaseException:
            await client.stop()
            raise
        self.clients[client_id] = client
        return client

    async def leave(self, client_id=BAD):
        await self.clients.pop(client_id).stop()
        await until(lambda: client_id in self.ended)
        del self.ended[client_id]

    async def stranger(self, ssl=None):
        """Return a connection of nobody yet."""
        made = await Stranger.dial(self.port, ssl)
        self.strangers.append(made)
        return made

    async def impostor(self, client_id=BAD):
        """Return a connection that was admitted as a client's, and speaks by hand."""
        made = await self.stranger()
        assert await within(made.upgrade(client_id, hello(client_id, SERVER))) == (101, "")
        return made

    def heard(self, kind, client_id=BAD):
        """Return how many messages of a kind have come from a client."""
        return self.comm.connections.router.counts().get(f"{client_id}->{SERVER}", {}).get(kind, 0)

    async def end_of(self, client_id=BAD):
        """Return the error that the connection to a client has ended with."""
        await until(lambda: client_id in self.ended)
        return self.ended[client_id]

    async def round(self):
        """Train one round; return its record."""
        history = await within(self.federation.run(initial_model=self.federation.global_model))
        return history.rounds[0]

    async def intact(self):
        """Assert that the good clients have noticed nothing, and that the third may come and takes part."""
        assert not set(self.ended) & set(GOOD)
        assert (await self.round()).arrived == GOOD
        await self.join(BAD)
        assert (await self.round()).arrived == (*GOOD, BAD)

    async def stop(self):
        for stranger in self.strangers:
            await stranger.close()
        await asyncio.gather(*(client.stop() for client in self.clients.values()))
        await self.federation.stop()


@pytest.fixture
async def make_town():
    made = []

    async def make(joining=None, *, clients=3, args=None, trainer=None, **transport):
        made.append(Town(joining or {}, transport, clients=clients, args=args, trainer=trainer))
        return await made[-1].start()

    yield make
    for town in made:
        await town.stop()


@pytest.fixture
async def town(make_town):
    """A federation whose third client has left."""
    made = await make_town()
    await made.leave()
    return made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Return where certificates lie: the ``ca``, and what it or a foreign one has issued."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, foreign = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    foreign.cert_pem.write_to_path(str(folder / "foreign_ca.pem"))
    issued = {name: authority.issue_cert(name) for name in ("127.0.0.1", "elsewhere.example")}
    issued |= {name: authority.issue_cert(common_name=name) for name in (*GOOD, BAD)}
    issued["foreign"] = foreign.issue_cert(common_name=BAD)
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return lambda name: str(folder / f"{name}.pem")
