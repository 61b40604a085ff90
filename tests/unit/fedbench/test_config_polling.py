"""The polling architecture in network mode: where its server may listen."""

from __future__ import annotations

import pytest

from fedbench.config import from_mapping
from fedbench.errors import ConfigError
from fedbench.netsettings import NetworkSettings


def problems_of(data):
    with pytest.raises(ConfigError) as raised:
        from_mapping(data)
    return list(map(str, raised.value.problems))


def test_polling_is_available_in_network_mode():
    data = {"architecture": "polling", "mode": "network", "clients": [{}], "fleet": {"restart": "never"}}
    config = from_mapping(data)
    assert (config.mode, config.store, config.server.network) == ("network", "heap", NetworkSettings())
    assert config.polling.poll_interval_s == 0.010
    del data["mode"]
    data["server"] = {"transport": {"type": "network"}}
    assert from_mapping(data).mode == "network"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_its_server_listens_where_it_is_told(host):
    transport = {"type": "network", "host": host, "port": 8123}
    data = {"architecture": "polling", "server": {"transport": transport}, "clients": [{}]}
    assert from_mapping(data).server.network == NetworkSettings(host, 8123)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "10.0.0.1"])
def test_its_server_is_kept_to_this_machine(host):
    data = {
        "architecture": "polling",
        "mode": "network",
        "server": {"transport": {"host": host, "insecure": True}},
        "clients": [{}],
    }
    assert (
        f"server.transport.host: {host!r} is no loopback address: polling by HTTP knows no identities, so it "
        "is kept to this machine; use '127.0.0.1'"
    ) in problems_of(data)


def test_only_a_network_has_an_address():
    data = {"server": {"transport": {"type": "memory", "port": 1}}, "clients": [{}]}
    assert problems_of(data) == ["server.transport.port: unknown key; known: type"]


@pytest.mark.parametrize("mode", ["process", "network"])
def test_messages_are_passed_by_reference_in_memory_mode_alone(mode):
    assert not from_mapping({"clients": [{}], "polling": {"copy": False}}).polling.copy
    problem = f"polling.copy: {mode} mode cannot send by reference: remove it, or use memory mode"
    assert problems_of({"mode": mode, "clients": [{}], "polling": {"copy": False}}) == [problem]
    assert from_mapping({"mode": mode, "clients": [{}], "polling": {"copy": True}}).polling.copy
