"""Nodes joined over loopback, through a proxy that can be cut."""

from __future__ import annotations

import asyncio

import pytest

from fedbench.transport.network.backend import NetworkTransport
from tests.fakes.proxy import Proxy
from tests.pace import limit_s

SERVER, CLIENT, OTHER = "network_server_x_1", "alice", "bob"
OPTIONS = {"resume_window_s": 5.0}


async def within(awaitable, timeout_s=10.0):
    async with asyncio.timeout(limit_s(timeout_s)):
        return await awaitable


class Net:
    """A server, a proxy before it, and clients that dial the proxy or the server."""

    def __init__(self, options, server_options):
        self.made = []
        self.proxy = Proxy()
        self.options = {**OPTIONS, **options}
        self.server_options = {**self.options, **server_options}

    async def start(self):
        self.server = NetworkTransport(SERVER, **self.server_options)
        self.made.append(self.server)
        await self.server.start_event_listener()
        await self.proxy.start(self.server.port)
        return self

    def client(self, node_id=CLIENT, *, direct=False, **options):
        port = self.server.port if direct else self.proxy.port
        transport = NetworkTransport(node_id, role="client", **{"port": port, **self.options, **options})
        transport.first_delay_s = 0.02
        self.made.append(transport)
        return transport

    async def pair(self, **options):
        """A client that is connected, and the server's end of its connection."""
        accepted = []
        self.server.on_connection(SERVER, accepted.append)
        client = self.client(**options)
        await client.start_event_listener()
        near = await within(client.connect(SERVER))
        return client, near, accepted[0]

    async def close(self):
        for transport in self.made:
            await transport.close()
        await self.proxy.close()


@pytest.fixture
async def make_net():
    made = []

    async def make(server_options=None, **options):
        net = Net(options, server_options or {})
        made.append(net)
        return await net.start()

    yield make
    for net in made:
        await net.close()


@pytest.fixture
async def net(make_net):
    return await make_net()
