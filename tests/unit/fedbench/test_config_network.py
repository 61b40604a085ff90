from __future__ import annotations

import pytest

from fedbench.config import from_mapping
from fedbench.errors import ConfigError
from fedbench.netsettings import NetworkSettings


def problems_of(data):
    with pytest.raises(ConfigError) as error:
        from_mapping(data)
    return [str(problem) for problem in error.value.problems]


def test_network_mode_has_its_own_keys_and_no_other_mode_has_them():
    data = {
        "mode": "network",
        "server": {"transport": {"port": 8080, "heartbeat_s": 5}},
        "clients": [{}, {"transport": {"type": "network", "token_file": "t"}}],
        "fleet": {"restart": "on_failure"},
    }
    config = from_mapping(data)
    first, second = (client.network for client in config.clients)
    assert first == config.server.network == NetworkSettings(port=8080, heartbeat_s=5.0)
    assert second == NetworkSettings(port=8080, token_file="t", heartbeat_s=5.0)
    assert (config.store, config.fleet.restart) == ("heap", "on_failure")
    data |= {"mode": "process"}
    assert [problem.split(":")[0] for problem in problems_of(data)] == [
        "server.transport.port",
        "server.transport.heartbeat_s",
        "clients[1].transport.type",
        "clients[1].transport.token_file",
    ]
    counted = from_mapping({"mode": "network", "clients": {"count": 2, "transport": {"port": 7}}})
    assert [client.network.port for client in counted.clients] == [7, 7]
