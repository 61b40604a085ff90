import pytest

from fedbench.config import from_mapping
from fedbench.connection.communication import CommunicationManager
from fedbench.errors import ConfigError, RemoteError, RoutingError
from fedbench.factories import (
    create_communication_manager,
    create_learner_proxy,
    create_transport,
    create_transport_with_ids,
)
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.stub import LearnerStub
from fedbench.transport.memory import Hub, MemoryTransport

# Transports ------------------------------------------------------------------------------------------------


def test_create_transport_hands_on_its_options_but_not_the_type():
    hub = Hub()
    transport = create_transport("memory", "alice", {"type": "memory", "hub": hub, "role": "client"})
    assert isinstance(transport, MemoryTransport)
    assert (transport.node_id, transport.role_of("alice")) == ("alice", "client")
    assert create_transport("memory", "memory_server").role_of("memory_server") == "server"


@pytest.mark.parametrize(
    ("mode", "node_id", "message"),
    [
        ("memory", "no node", "'no node' cannot name a node"),
        ("carrier pigeon", "a", "unknown transport 'carrier pigeon': use one of memory"),
    ],
)
def test_a_transport_that_cannot_be_made(mode, node_id, message):
    with pytest.raises(ValueError, match=message):
        create_transport(mode, node_id)


def test_an_option_that_the_transport_does_not_have():
    with pytest.raises(TypeError, match="port"):
        create_transport("memory", "a", {"port": 1})


CONFIG = {"server": {"server_id": "hub"}, "clients": [{"client_id": "alice"}, {"client_id": "bob"}]}


@pytest.mark.parametrize("config", [CONFIG, from_mapping(CONFIG)], ids=["mapping", "config"])
async def test_one_transport_serves_a_whole_federation(config):
    made = await create_transport_with_ids(config)
    assert (made.server_id, made.client_ids) == ("hub", ("alice", "bob"))
    try:
        for client_id in made.client_ids:
            assert await made.transport.send("hub", client_id, {"to": client_id})
            await made.transport.send(client_id, "hub", client_id)
        for client_id in made.client_ids:
            assert await made.transport.receive(client_id, "hub", 1) == {"to": client_id}
            assert await made.transport.receive("hub", client_id, 1) == client_id
        with pytest.raises(RoutingError):
            await made.transport.send("alice", "bob", "a client to a client")
    finally:
        await made.transport.close()


async def test_one_transport_serves_all_nodes_of_a_network():
    made = await create_transport_with_ids({**CONFIG, "mode": "network"})
    try:
        server_id, client_id = made.server_id, made.client_ids[0]
        await made.transport.send(client_id, server_id, "up")
        assert await made.transport.receive(server_id, client_id, 5.0) == "up"
        await made.transport.send(server_id, client_id, "down")
        assert await made.transport.receive(client_id, server_id, 5.0) == "down"
    finally:
        await made.transport.close()


def test_a_network_node_takes_what_stands_under_transport():
    transport = create_transport("network", "alice", {"type": "network", "port": 5, "role": "client"})
    assert (transport.settings.port, transport.role_of("alice")) == (5, "client")


async def test_a_wrong_configuration_makes_no_transport():
    with pytest.raises(ConfigError, match="clients"):
        await create_transport_with_ids({})


async def test_an_id_that_is_taken_leaves_nothing_listening():
    first = await create_transport_with_ids(
        {"server": {"server_id": "first"}, "clients": [{"client_id": "bob"}]}
    )
    try:
        with pytest.raises(RoutingError, match="same id"):
            await create_transport_with_ids(CONFIG)
    finally:
        await first.transport.close()
    again = await create_transport_with_ids(CONFIG)
    await again.transport.close()


# Communication ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_id", "options", "role"),
    [
        ("memory_server", None, "server"),
        ("yaml_client_3", {"type": "memory"}, "client"),
        ("alice", {"role": "server"}, "server"),
    ],
)
def test_the_role_comes_from_the_options_or_the_id(node_id, options, role):
    comm = create_communication_manager("memory", node_id, options)
    assert isinstance(comm, CommunicationManager)
    assert (comm.node_id, comm.role) == (node_id, role)


def test_a_role_that_is_not_known():
    with pytest.raises(ValueError, match="the id 'alice' does not tell its role"):
        create_communication_manager("memory", "alice")
    with pytest.raises(ValueError, match="unknown role 'boss' of 'memory_server': use 'server' or 'client'"):
        create_communication_manager("memory", "memory_server", {"role": "boss"})


def test_a_communication_that_cannot_be_made():
    with pytest.raises(ValueError, match="cannot name a node"):
        create_communication_manager("memory", "no node")


# Proxies ---------------------------------------------------------------------------------------------------


async def test_a_proxy_stands_for_the_other_end():
    hub = Hub()
    server = create_communication_manager("memory", "memory_server", {"hub": hub})
    client = create_communication_manager("memory", "memory_client_1", {"hub": hub})
    stubs = [LearnerStub(comm, GlobalModel()) for comm in (server, client)]
    await server.start()
    await client.start()
    await client.register_client("memory_server")
    down, up = (
        create_learner_proxy("memory", "memory_client_1", "memory_server", comm) for comm in (server, client)
    )
    assert (down.client_id, up.client_id) == ("memory_client_1", "memory_server")
    assert [await down.ping("down"), await up.ping("up")] == ["down", "up"]
    for stub in stubs:
        await stub.close()
    for comm in (client, server):
        await comm.close()
        RpcEndpoint.of(comm).close()


@pytest.mark.parametrize(
    ("client_id", "options", "index"),
    [
        ("memory_client_3", {}, 2),
        ("memory_client_3", {"index": 0}, 0),
        ("mine", {}, 0),
        ("mine", {"index": 4}, 4),
    ],
)
def test_a_proxy_has_the_index_that_it_is_given_or_its_id_tells(client_id, options, index):
    comm = create_communication_manager("memory", "memory_server", {"hub": Hub()})
    assert create_learner_proxy("memory", client_id, "memory_server", comm, **options).index == index


async def test_a_node_without_a_stub_refuses_calls():
    hub = Hub()
    server = create_communication_manager("memory", "memory_server", {"hub": hub})
    client = create_communication_manager("memory", "memory_client_1", {"hub": hub})
    await server.start()
    await client.start()
    await client.register_client("memory_server")
    with pytest.raises(RemoteError, match="memory_client_1 answers no calls"):
        await create_learner_proxy("memory", "memory_client_1", "memory_server", server).ping(deadline_s=5)
    for comm in (client, server):
        await comm.close()
        RpcEndpoint.of(comm).close()


def test_a_proxy_that_cannot_be_made():
    comm = create_communication_manager("memory", "memory_server", {"hub": Hub()})
    with pytest.raises(ValueError, match="'memory_server' joins neither 'a' nor 'b'"):
        create_learner_proxy("memory", "a", "b", comm)
    with pytest.raises(ValueError, match="unknown transport"):
        create_learner_proxy("carrier pigeon", "a", "memory_server", comm)
