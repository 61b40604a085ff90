"""``fedbench serve`` and ``fedbench join``: a federation over several processes, put together by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fedbench.errors import ConfigError
from fedbench.netsettings import NetworkSettings, TlsSettings
from harness.join import Joining, arguments, join, settings_of
from tests.pace import limit_s

NONE = {"ca": None, "cert": None, "key": None, "token_file": None, "insecure": False}
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]
CONFIG = Path("scripts/configs/by_hand.yaml").read_text().replace("port: 8080", "port: 0")


def test_an_address_says_where_and_on_which_terms():
    assert settings_of("http://127.0.0.1:8080", **NONE) == NetworkSettings("127.0.0.1", 8080)
    terms = {**NONE, "ca": "ca.pem", "token_file": "token"}
    assert settings_of("https://fed.example:443/", **terms) == NetworkSettings(
        "fed.example", 443, TlsSettings(ca="ca.pem"), "token"
    )


@pytest.mark.parametrize(
    "server", ["", "127.0.0.1:80", "ftp://a:1", "http://a", "http://a:x", "http://a:1/x"]
)
def test_what_is_no_address_is_refused_by_name(server):
    with pytest.raises(ConfigError, match="--server"):
        settings_of(server, **NONE)


def test_certificates_need_tls():
    with pytest.raises(ConfigError, match="certificates need https"):
        settings_of("http://a:1", **{**NONE, "ca": "ca.pem"})


def test_arguments_are_read_as_yaml():
    assert arguments(["rate=0.5", "names=[a, b]", "text="]) == {
        "rate": 0.5,
        "names": ["a", "b"],
        "text": None,
    }
    for wrong in ("rate", "a-b=1", "x={"):
        with pytest.raises(ConfigError, match="is not NAME=VALUE"):
            arguments([wrong])


@pytest.mark.slow
@pytest.mark.parametrize(("option", "ids"), [("--id", ("bad id", "server")), ("--server-id", ("a", "../b"))])
def test_what_can_be_no_id_is_refused_by_name(option, ids):
    server_id, client_id = reversed(ids)
    joining = Joining(NetworkSettings(), server_id, client_id, "SimpleLearner", {})
    with pytest.raises(ConfigError, match=f"^{option}: .*cannot name a node: use 1 to 128 letters"):
        join(joining, Console(), 0)


def test_a_federation_put_together_by_hand_trains_the_model_of_one_command(tmp_path: Path):
    config = tmp_path / "federation.yaml"
    config.write_text(CONFIG)
    by_hand, at_once = tmp_path / "by_hand.npz", tmp_path / "at_once.npz"
    with subprocess.Popen(
        [*COMMAND, "serve", "--config", str(config), "--save", str(by_hand)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        _, first = server.stdout.readline(), server.stdout.readline()
        address = re.match(r"listening at (http://127\.0\.0\.1:\d+), waiting for 2 clients", first)
        assert address is not None, first
        refused = subprocess.run(
            [*COMMAND, "join", "--server", address[1], "--id", "stranger"],
            capture_output=True,
            text=True,
            timeout=limit_s(15),
        )
        clients = [
            subprocess.Popen(
                [*COMMAND, "join", "--server", address[1], "--id", f"yaml_client_{number}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in (1, 2)
        ]
        told = [client.communicate(timeout=limit_s(15))[0] for client in clients]
        output, _ = server.communicate(timeout=limit_s(15))
    assert (server.returncode, [client.returncode for client in clients]) == (0, [0, 0]), output
    assert "joined, waiting for 1 client\n" in output
    assert "joined, all are there" in output
    assert "round 5/5" in output
    assert "yaml_client_2 joined yaml_fed_server as client 2 of 2" in told[1]
    assert "global model version 5" in told[0]
    assert "yaml_fed_server ended the federation" in told[0]
    assert refused.returncode == 3
    assert "stranger is no client of this federation" in refused.stderr
    subprocess.run(
        [*COMMAND, "federate", str(config), "--save", str(at_once), "--log-dir", str(tmp_path / "logs")],
        check=True,
        capture_output=True,
        timeout=limit_s(20),
    )
    one, other = np.load(by_hand), np.load(at_once)
    assert all((one[name] == other[name]).all() for name in one.files)


def test_a_server_by_hand_needs_network_mode(tmp_path: Path):
    config = tmp_path / "memory.yaml"
    config.write_text("clients: {count: 1}")
    result = subprocess.run(
        [*COMMAND, "serve", "--config", str(config)], capture_output=True, text=True, timeout=limit_s(15)
    )
    assert result.returncode == 2
    assert "clients join by hand in network mode only" in result.stderr
