"""The suite over every scheme, and over the fake that other tests stand on."""

from __future__ import annotations

import itertools

import pytest

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


_numbers = itertools.count()

BACKENDS = {"memory": memory, "process": process, "fake": fake}


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
