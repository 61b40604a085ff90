"""What network mode adds to federations of processes: certificates, addresses, sessions."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import trustme

from fedbench import ConfigError, Federation, ModelState, PeerLost
from fedbench.networks import NetworkNodes
from tests.fakes.federations import mapping
from tests.pace import limit_s


async def test_everybody_applies_a_broadcast():
    async with Federation.from_mapping(mapping("network")) as federation:
        model = ModelState.from_arrays({"w": np.ones(1 << 18, np.float32)}, 5)
        assert set((await federation.broadcast(model)).values()) == {None}
        assert [await proxy.call_remote_method("versions") for proxy in federation.learners()] == [[5]] * 3
        assert await federation.learners()[0].get_model() == model


async def test_with_certificates_and_a_token(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o600)
    files = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "ca")}
    transport = {"tls": {"cert": files["cert"]}, "token_file": str(tmp_path / "token")}
    settings = mapping("network", clients=1, transport=transport)
    settings["clients"]["transport"] = {"tls": {"ca": files["ca"]}}
    async with Federation.from_mapping(settings) as federation:
        assert await federation.learners()[0].ping(1) == 1
        (told,) = federation.nodes.transport.status()["connections"]
        assert told["linked"]


def test_an_address_that_others_can_hear_is_refused_where_it_stands():
    with pytest.raises(ConfigError, match=r"server\.transport\.host: '0\.0\.0\.0' is not loopback"):
        Federation.from_mapping(mapping("network", transport={"host": "0.0.0.0"}))


def test_the_nodes_of_network_mode_are_these():
    assert isinstance(Federation.from_mapping(mapping("network")).nodes, NetworkNodes)


async def test_the_session_of_a_killed_client_ends_with_its_process():
    async with Federation.from_mapping(mapping("network")) as federation:
        proxy = federation.learners()[1]
        hanging = asyncio.create_task(proxy.call_remote_method("wait"))
        await proxy.ping(1)
        federation.nodes.lose("yaml_client_2")
        with pytest.raises(PeerLost, match="lost yaml_client_2: its process"):
            await asyncio.wait_for(hanging, limit_s(5))
