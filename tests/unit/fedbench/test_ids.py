import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench import ids

HOSTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True)
PORTS = st.integers(0, 65535)


@given(index=st.integers(1, 10**6))
def test_memory_ids_roundtrip(index):
    node = ids.parse(ids.generate_client_id("memory", index))
    assert (node.mode, node.role, node.parts) == ("memory", "client", {"index": str(index)})


@given(index=st.integers(1, 10**4), pid=st.integers(1, 2**22), port=PORTS)
def test_process_ids_roundtrip(index, pid, port):
    node = ids.parse(ids.IDMapper("process").client(index, pid=pid, port=port))
    assert (node.mode, node.role, node.parts) == ("process", "client", {"pid": str(pid), "port": str(port)})
    server = ids.parse(ids.IDMapper("process").server(port=port))
    assert (server.mode, server.role, server.parts) == ("process", "server", {"port": str(port)})


@given(index=st.integers(1, 10**4), host=HOSTS, port=PORTS)
def test_network_ids_roundtrip(index, host, port):
    mapper = ids.IDMapper("network")
    node = ids.parse(mapper.client(index, host=host, port=port))
    assert (node.mode, node.role) == ("network", "client")
    assert (node.parts["host"], node.parts["port"]) == (host, str(port))
    server = ids.parse(mapper.server(host=host, port=port))
    assert (server.mode, server.role, server.parts) == (
        "network",
        "server",
        {"host": host, "port": str(port)},
    )


@pytest.mark.parametrize("mode", ids.MODES)
def test_generated_ids_parse_to_their_mode_and_default_to_this_machine(mode):
    node = ids.parse(ids.generate_client_id(mode, 3))
    assert (node.mode, node.role) == (mode, "client")
    assert "3" in (node.parts.get("index"), node.parts.get("port"))
    server = ids.parse(ids.IDMapper(mode).server())
    assert (server.mode, server.role) == (mode, "server")


def test_network_ids_never_repeat():
    assert len({ids.generate_client_id("network", 1) for _ in range(50)}) == 50


@pytest.mark.parametrize("text", ["memory_server", "yaml_fed_server", "memory_client_1", "yaml_client_12"])
def test_memory_names(text):
    node = ids.parse(text)
    assert node.mode == "memory"
    assert node.role == ("server" if text.endswith("server") else "client")


@pytest.mark.parametrize(
    "text", ["alice", "memory_client_0", "memory_client_x", "network_client_h_1_xyz", "process_server"]
)
def test_other_names_are_the_users(text):
    assert ids.parse(text) == ids.NodeId(text, None, None, {})


@pytest.mark.parametrize("text", ["", "_a", "-a", ".a", "a b", "a\n", "a:b", "é", "a" * 129, "a/b"])
def test_what_may_not_name_a_node(text):
    with pytest.raises(ValueError, match="cannot name a node: use 1 to 128 letters"):
        ids.parse(text)


@given(st.from_regex(ids.NAME_PATTERN, fullmatch=True))
def test_what_matches_the_pattern_may(text):
    assert ids.check_name(text) == text
    assert ids.parse(text).text == text


@pytest.mark.parametrize("host", ["my_host", "::1", "a b", "ü"])
def test_a_host_that_would_not_parse_again_is_refused(host):
    with pytest.raises(ValueError, match="cannot be part of a node id"):
        ids.IDMapper("network").server(host=host)
    with pytest.raises(ValueError, match="cannot be part of a node id"):
        ids.IDMapper("network").client(1, host=host)


def test_a_host_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="cannot name a node"):
        ids.IDMapper("network").client(1, host="h" * 120)


@pytest.mark.parametrize("mode", ids.MODES)
def test_numbers_are_checked(mode):
    with pytest.raises(ValueError, match="index 0 is below 1"):
        ids.generate_client_id(mode, 0)
    with pytest.raises(ValueError, match="port -1 is negative"):
        ids.IDMapper(mode).server(host="h", port=-1)
    if mode != "memory":
        with pytest.raises(ValueError, match="port -1 is negative"):
            ids.IDMapper(mode).client(1, host="h", port=-1)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="unknown mode 'carrier': use one of memory, process, network"):
        ids.IDMapper("carrier")


def test_the_local_address_is_an_address():
    socket.inet_aton(ids.get_local_ip())


def test_without_a_route_the_local_address_is_loopback(monkeypatch):
    class NoRoute(socket.socket):
        def connect(self, address):
            raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "socket", NoRoute)
    assert ids.get_local_ip() == "127.0.0.1"


def test_no_node_runs_outside_of_any():
    assert ids.current_node.get() == ""
