import pytest

from fedbench.errors import RemoteError
from fedbench.rpc.global_model import GlobalModel
from fedbench.rpc.proxy import LearnerProxy

SERVER, CLIENT = "yaml_fed_server", "yaml_client_1"


@pytest.fixture
async def proxy(world):
    """A client's proxy of a server with a global model; ``proxy.server`` is that server."""
    server, client = await world.server(GlobalModel()), await world.client()
    proxy = LearnerProxy(client.comm, SERVER)
    proxy.server = server
    return proxy


async def test_a_client_gets_the_global_model(proxy, model):
    with pytest.raises(RemoteError, match="there is no global model yet") as raised:
        await proxy.get_model()
    assert raised.value.type_name == "LookupError"
    proxy.server.target.model = model(5)
    assert await proxy.get_model() == model(5)


async def test_ping_returns_its_payload(proxy):
    assert await proxy.ping({"n": 1}) == {"n": 1}
    assert await proxy.ping() is None


@pytest.mark.parametrize("method", ["train", "evaluate", "set_model", "__class__", ""])
async def test_a_server_refuses_every_other_method(proxy, method):
    with pytest.raises(RemoteError, match="a server answers get_model") as raised:
        await proxy.call_remote_method(method)
    assert (raised.value.node_id, raised.value.type_name) == (SERVER, "PermissionError")


async def test_a_server_is_pushed_no_models(proxy, model):
    with pytest.raises(RemoteError, match="return them from train"):
        await proxy.push_model(model(1)).applied
    assert proxy.server.target.model is None


async def test_notifications_reach_every_handler_in_order(proxy):
    seen = []

    async def later(event, data):
        seen.append(("async", event, data))

    proxy.server.target.on_notify(lambda event, data: seen.append(("plain", event, data)))
    proxy.server.target.on_notify(later)
    await proxy.notify("ready", {"n": 1}).applied
    assert seen == [("plain", "ready", {"n": 1}), ("async", "ready", {"n": 1})]
