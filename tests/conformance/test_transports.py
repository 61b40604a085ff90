"""The suite over every scheme, and over the fake that other tests stand on."""

from __future__ import annotations

import itertools
import socket

import pytest

from fedbench.ids import parse
from fedbench.transport import registry
from fedbench.transport.memory import Hub
from tests.conformance.backend import Backend
from tests.conformance.transport_suite import TransportSuite
from tests.fakes.connection import FakeHub, FakeTransport


def memory() -> Backend:
    hub = Hub()
    return Backend(
        "memory",
        lambda node_id, **options: registry.create("memory", node_id, hub=hub, **options),
        kill=lambda connection: connection.abort("killed"),
        traits=frozenset({"shared", "joint"}),
    )


def fake() -> Backend:
    hub = FakeHub()
    return Backend(
        "fake",
        lambda node_id, **options: FakeTransport(node_id, hub, **options),
        kill=lambda connection: connection.abort("killed"),
        traits=frozenset({"shared", "joint"}),
    )


def process() -> Backend:
    exchange = f"conformance-{next(_numbers)}"
    return Backend(
        "process",
        lambda node_id, **options: registry.create("process", node_id, exchange=exchange, **options),
        kill=lambda connection: connection.abort("killed"),
        traits=frozenset({"shared"}),
    )


def network() -> Backend:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers: list[str] = []

    def make(node_id, role=None, **options):
        if (role or parse(node_id).role) == "server":
            servers.append(node_id)
        elsewhere = node_id in servers and node_id != servers[0]
        place = {"port": 0 if elsewhere else port, "resume_window_s": 0.3}
        return registry.create("network", node_id, role=role, **place, **options)

    return Backend(
        "network",
        make,
        kill=lambda connection: connection.abort("killed"),
        traits=frozenset({"shared"}),
        dials=False,
    )


_numbers = itertools.count()

BACKENDS = {"memory": memory, "process": process, "network": network, "fake": fake}


@pytest.fixture(params=sorted(BACKENDS))
async def backend(request):
    async with BACKENDS[request.param]().closing() as backend:
        yield backend


class TestTransports(TransportSuite):
    """Every test of the suite, once a backend."""


def test_every_scheme_is_in_the_suite():
    assert set(registry.SCHEMES) <= set(BACKENDS)


def test_a_missing_trait_is_a_named_skip():
    with pytest.raises(pytest.skip.Exception, match="bare has no trait 'shared'"):
        Backend("bare", None, None).need("shared")
