"""Polling by HTTP: what a network adds to polling processes."""

from __future__ import annotations

import socket

import pytest

from fedbench import Federation, TransportError


async def test_a_port_in_use_is_told_before_any_process_is_started():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = {"mode": "network", "architecture": "polling", "clients": {"count": 1}}
        config["server"] = {"transport": {"type": "network", "host": "127.0.0.1", "port": port}}
        federation = Federation.from_mapping(config)
        with pytest.raises(TransportError, match=f"port {port}: Address already in use"):
            await federation.start()
    with pytest.raises(KeyError):
        federation.nodes.lose("yaml_client_1")
