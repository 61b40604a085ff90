"""`fedbench serve` and `fedbench join` on two machines: two network namespaces, and a cable between them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import trustme

from fedbench import Federation
from tests.pace import limit_s

FEDBENCH = str(Path(sys.executable).with_name("fedbench"))
ROOT = Path(__file__).parents[2]
SERVER, CLIENTS = "10.77.0.1", ("yaml_client_1", "yaml_client_2")
PORT = 8443
STEPPER, VALUES = "tests.fakes.fleet:Stepper", 1_000_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Machine:
    """A network namespace with an address of its own, and what runs in it.

    Args:
        name: Its name.
        folder: Where what is said goes.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: object) -> tuple[subprocess.Popen[bytes], Path]:
        """Start the command here; return its process and the file of what it says."""
        said = self._folder / f"{self.name}-{len(self._running)}"
        command = ["ip", "netns", "exec", self.name, FEDBENCH, *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with said.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=self._folder, env=environment
            )
        self._running.append(process)
        return process, said

    def plug(self, *, yes: bool) -> None:
        """Pull the cable out of this machine, or put it back in."""
        ip("-n", self.name, "link", "set", "cable", "up" if yes else "down")

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines, whose processes and namespaces are gone afterwards, whatever happens."""
    names = [f"fb-{os.getpid()}-{role}" for role in ("server", "clients")]
    with ExitStack() as undo:
        try:
            for name in names:
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)
            ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "cable", "netns", names[1])
            for name, address in zip(names, (SERVER, "10.77.0.2"), strict=True):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "link", "set", "cable", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            pytest.skip(f"cannot create network namespaces: {str(reason).strip()}")
        made = [Machine(name, tmp_path) for name in names]
        for machine in made:
            undo.callback(machine.stop)
        yield made[0], made[1]


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + limit_s(30.0)
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def serve(machine: Machine, folder: Path, transport: str, rest: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the server; return when it listens."""
    config = folder / "federation.yaml"
    config.write_text(
        f"mode: network\nserver:\n  transport: {{host: {SERVER}, port: {PORT}, {transport}}}\n{rest}"
    )
    server, said = machine.start("serve", "--config", config, "--save", folder / "model.npz", "-v")
    until(lambda: "listening at" in said.read_text() or server.poll() is not None)
    assert server.poll() is None, said.read_text()
    return server, said


def ended(*started: tuple[subprocess.Popen[bytes], Path]) -> list[str]:
    """Wait until everybody has ended well; return what they have said."""
    for process, said in started:
        assert process.wait(timeout=limit_s(30)) == 0, said.read_text()
    return [said.read_text() for _, said in started]


def assert_saved(path: Path, mode_of: dict[str, object]) -> None:
    """Assert that a file holds, bit for bit, the model that the same federation trains in memory mode."""
    model = asyncio.run(Federation.from_mapping(mode_of).run()).model
    with np.load(path) as saved:
        assert sorted(saved.files) == sorted(model)
        for name in saved.files:
            assert saved[name].dtype == model[name].dtype
            assert saved[name].tobytes() == model[name].tobytes()


def test_a_federation_over_two_machines_trains_the_model_of_one(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    here, there = machines
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = {"server": authority.issue_cert(SERVER)}
    issued |= {client_id: authority.issue_cert(common_name=client_id) for client_id in CLIENTS}
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    tokens = {"tokens": "".join(f"{client_id} of-{client_id}\n" for client_id in CLIENTS)}
    tokens |= {f"{client_id}.token": f"of-{client_id}" for client_id in CLIENTS}
    for name, text in tokens.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    transport = f"tls: {{cert: {tmp_path}/server.pem, ca: {tmp_path}/ca.pem}}, token_file: {tmp_path}/tokens"
    rest = "  trainer: {args: {rounds: 5}}\nclients: {count: 2}\n"
    server = serve(here, tmp_path, transport, rest)
    clients = [
        there.start(
            *("join", "--server", f"https://{SERVER}:{PORT}", "--id", client_id, "--ca", "ca.pem"),
            *("--cert", f"{client_id}.pem", "--token-file", f"{client_id}.token"),
        )
        for client_id in CLIENTS
    ]
    told, *heard = ended(server, *clients)
    assert f"listening at https://{SERVER}:{PORT}, waiting for 2 clients" in told
    assert [f"round {number}/5  2/2 clients" in told for number in range(1, 6)] == [True] * 5
    assert "0 updates missing" in told
    for number, (client_id, text) in enumerate(zip(CLIENTS, heard, strict=True), 1):
        assert f"{client_id} joined yaml_fed_server as client {number} of 2" in text
        assert all(f"global model version {version}, 2" in text for version in range(1, 6))
        assert "yaml_fed_server ended the federation" in text
    assert "of-yaml" not in told + "".join(heard)
    assert_saved(
        tmp_path / "model.npz", {"clients": {"count": 2}, "server": {"trainer": {"args": {"rounds": 5}}}}
    )


def test_a_federation_goes_on_when_the_cable_is_back(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    here, there = machines
    learner = f"{{type: '{STEPPER}', args: {{pause_s: 0.2, values: {VALUES}}}}}"
    rest = f"  trainer: {{args: {{rounds: 4}}}}\nclients: {{count: 2, learner: {learner}}}\n"
    server = serve(here, tmp_path, "insecure: true, heartbeat_s: 0.8", rest)
    joining = ("join", "--server", f"http://{SERVER}:{PORT}", "--insecure", "-v", "--learner", STEPPER)
    assigned = ("--set", "pause_s=0.2", "--set", f"values={VALUES}")
    clients = [there.start(*joining, "--id", name, *assigned) for name in CLIENTS]
    until(lambda: "round 1/4" in server[1].read_text())
    here.plug(yes=False)
    until(lambda: server[1].read_text().count("no link to yaml_client_") >= 2)
    here.plug(yes=True)
    told, *heard = ended(server, *clients)
    for client_id in CLIENTS:
        assert f"the link to {client_id} is cut: nothing came for" in told
        assert f"yaml_fed_server goes on with {client_id}" in told
    assert [f"round {number}/4  2/2 clients" in told for number in range(1, 5)] == [True] * 4
    assert "0 updates missing" in told
    for text in heard:
        assert "goes on with yaml_fed_server" in text
        assert [text.count(f"global model version {version}, ") for version in range(1, 5)] == [1] * 4
        assert "yaml_fed_server ended the federation" in text
    learner_of = {"count": 2, "learner": {"type": STEPPER, "args": {"values": VALUES}}}
    assert_saved(
        tmp_path / "model.npz", {"clients": learner_of, "server": {"trainer": {"args": {"rounds": 4}}}}
    )
