"""``fedbench serve`` where it cannot listen, and ``fedbench join`` when the server is killed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from tests.fakes.commands import started
from tests.integration.network.conftest import SERVER, free_port
from tests.pace import limit_s

CONFIG = """
mode: network
server:
  transport: {{port: {port}}}
  trainer: {{args: {{rounds: {rounds}}}}}
clients: {{count: 2, learner: {{type: "tests.fakes.fleet:Stepper"}}}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]


@pytest.fixture
def config(tmp_path):
    def write(port, rounds=2):
        path = tmp_path / "federation.yaml"
        path.write_text(CONFIG.format(port=port, rounds=rounds))
        return path

    return write


async def test_a_port_in_use_is_named_and_its_user_left_alone(tmp_path, config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(tmp_path, "serve", "--config", config(port)) as server:
            assert await server.ends() == 3
        failure = server.said.splitlines()[-1]
        assert failure.startswith("failed: ")
        assert f"cannot listen at 127.0.0.1:{port}: " in failure
        assert failure.count(str(port)) == 1
        assert "in use; stop what listens there, or choose another server.transport.port" in failure
        assert "Traceback" not in server.said


async def test_clients_that_are_to_join_again_come_before_their_server_and_go_on_with_the_next(
    tmp_path, config
):
    port = free_port()
    learner = "tests.fakes.fleet:Stepper"
    with ExitStack() as undo:
        where = ("join", "--server", f"http://127.0.0.1:{port}", "--learner", learner, "--retry")
        clients = [
            undo.enter_context(started(tmp_path, *where, "--id", f"yaml_client_{number}"))
            for number in (1, 2, 3)
        ]
        for client in clients:
            await client.says("cannot be reached")
            await client.says("joining again in")
        clients[2].process.terminate()
        assert await clients[2].ends() == 0
        first = undo.enter_context(started(tmp_path, "serve", "--config", config(port, 1_000_000)))
        await first.says("round       2/1000000  2/2 clients")
        first.process.kill()
        await first.ends()
        second = undo.enter_context(started(tmp_path, "serve", "--config", config(port)))
        assert await second.ends() == 0
        assert "round 2/2  2/2 clients" in second.said
        for client in clients[:2]:
            assert await client.ends() == 0
            assert client.said.count("joined yaml_fed_server as client") == 2
            assert client.said.endswith(f"{SERVER} ended the federation\n")
            assert "Traceback" not in client.said


@pytest.mark.parametrize("retry", [(), ("--retry",)])
async def test_a_client_that_is_told_to_stop_does_not_wait_for_an_answer(tmp_path, retry):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.setblocking(False)
        where = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with started(tmp_path, "join", "--server", where, "--id", "yaml_client_1", *retry) as client:
            async with asyncio.timeout(limit_s(15)):
                asking, _ = await asyncio.get_running_loop().sock_accept(mute)
            with asking:
                client.process.terminate()
                assert await client.ends(5.0) == 0
    assert client.said == "stopped\n"


async def test_a_client_that_is_told_to_stop_takes_its_leave(tmp_path, config):
    port = free_port()
    where, learner = f"http://127.0.0.1:{port}", "tests.fakes.fleet:Stepper"
    words = ("join", "--server", where, "--id", "yaml_client_1", "--learner", learner, "--retry")
    with ExitStack() as undo:
        server = undo.enter_context(started(tmp_path, "serve", "--config", config(port), "-v"))
        await server.says("listening at")
        client = undo.enter_context(started(tmp_path, *words))
        await client.says("joined yaml_fed_server")
        await server.says("registered yaml_client_1")
        client.process.terminate()
        assert await client.ends() == 0
        assert client.said.endswith("stopped\n")
        assert "Traceback" not in client.said
        await server.says(f"{SERVER} unregistered yaml_client_1")


async def test_clients_whose_server_was_killed_say_so_and_join_the_next(tmp_path, config):
    port = free_port()

    def join(undo, number):
        where, learner = f"http://127.0.0.1:{port}", "tests.fakes.fleet:Stepper"
        words = ("join", "--server", where, "--id", f"yaml_client_{number}", "--learner", learner)
        return undo.enter_context(started(tmp_path, *words))

    with ExitStack() as undo:
        first = undo.enter_context(started(tmp_path, "serve", "--config", config(port, 1_000_000)))
        await first.says("listening at")
        clients = [join(undo, number) for number in (1, 2)]
        await first.says("round       5/1000000  2/2 clients")
        first.process.kill()
        await first.ends()
        second = undo.enter_context(started(tmp_path, "serve", "--config", config(port)))
        await second.says("listening at")
        for number, client in enumerate(clients, 1):
            assert await client.ends() == 3
            failure = client.said.splitlines()[-1]
            assert failure.startswith(f"failed: lost {SERVER}: ")
            assert f"{SERVER} knows no such session of yaml_client_{number}" in failure
            assert "Traceback" not in client.said
        again = [join(undo, number) for number in (1, 2)]
        assert await second.ends() == 0
        assert [await client.ends() for client in again] == [0, 0]
        assert "round 2/2  2/2 clients" in second.said


@pytest.mark.parametrize("retry", [(), ("--retry",)])
async def test_a_client_whose_place_another_of_its_id_takes_says_so_and_does_not_fight_for_it(
    tmp_path, config, retry
):
    port = free_port()
    where, learner = f"http://127.0.0.1:{port}", "tests.fakes.fleet:Stepper"
    words = ("join", "--server", where, "--id", "yaml_client_1", "--learner", learner, *retry)
    with ExitStack() as undo:
        server = undo.enter_context(started(tmp_path, "serve", "--config", config(port)))
        await server.says("listening at")
        first = undo.enter_context(started(tmp_path, *words))
        await first.says("joined yaml_fed_server")
        second = undo.enter_context(started(tmp_path, *words))
        assert await first.ends() == 3
        await second.says("joined yaml_fed_server")
        closed = f"{SERVER} closed its connection to yaml_client_1"
        taken = "another node of that id has connected in its place"
        assert first.said.splitlines()[-1] == f"failed: {closed}: {taken}"
        await server.says("lost client yaml_client_1: ")
        assert taken in server.said
