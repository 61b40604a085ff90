import ast
import inspect

import pytest

from fedbench.transport import registry
from fedbench.transport.base import TransportBase
from fedbench.transport.memory import Hub, MemoryTransport


@pytest.mark.parametrize("scheme", registry.SCHEMES)
def test_every_scheme_can_be_made_and_says_its_name(scheme):
    transport = registry.create(scheme, "memory_client_1")
    assert isinstance(transport, TransportBase)
    assert transport.scheme == scheme
    assert transport.node_id == "memory_client_1"


async def test_options_reach_the_transport():
    hub = Hub()
    transport = registry.create("memory", "alice", hub=hub, role="client")
    assert isinstance(transport, MemoryTransport)
    assert transport.role_of("alice") == "client"
    await transport.start_event_listener()
    assert hub.find("anyone", "alice") is transport
    await transport.close()


def test_an_unknown_scheme_names_the_known():
    with pytest.raises(ValueError, match="unknown transport 'pigeon': use one of memory"):
        registry.create("pigeon", "alice")


def test_wrong_options_and_names_are_refused():
    with pytest.raises(TypeError):
        registry.create("memory", "alice", colour="red")
    with pytest.raises(ValueError, match="cannot name a node"):
        registry.create("memory", "not a name")


def test_backends_are_imported_by_their_factories_only():
    tree = ast.parse(inspect.getsource(registry))
    imported = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.col_offset == 0
    }
    assert imported.isdisjoint(f"fedbench.transport.{scheme}" for scheme in registry.SCHEMES)
