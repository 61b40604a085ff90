"""Clients that share processes: all of them take part, and none outlives its federation or its server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from fedbench.config import from_mapping
from fedbench.errors import DeadlineExceeded, RegistrationError, RoutingError
from fedbench.loop import LoopName, run
from fedbench.tensors.model import ModelState
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.crowd import CrowdedFederation
from harness.stacks.federation import FederationStack
from tests.fakes.federations import LEARNERS, mapping, until
from tests.fakes.fleet import running

pytestmark = pytest.mark.slow
WATCHING = "harness.workloads.learners:WatchingLearner"
SCRIPT = """
import asyncio, os
from harness.stacks.base import FederationSpec
from harness.stacks.federation import FederationStack

async def main():
    stack = FederationStack("push", "network", {})
    await stack.start(FederationSpec(4, "tests.fakes.fleet:Stepper", methods=("pid",), per_process=2))
    print(*[await stack.ask(client, "pid") for client in range(4)], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def spec(clients: int, per_process: int) -> FederationSpec:
    return FederationSpec(clients, f"{LEARNERS}:Stepper", methods=("pid",), per_process=per_process)


async def pids(stack: FederationStack, clients: int) -> list[int]:
    return await asyncio.gather(*(stack.ask(client, "pid") for client in range(clients)))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_clients_share_processes_and_are_clients_all_the_same(loop: LoopName) -> None:
    async def main() -> None:
        stack = FederationStack("push", "network", {})
        await stack.start(spec(7, 3))
        try:
            homes = await pids(stack, 7)
            assert [homes.count(home) for home in dict.fromkeys(homes)] == [3, 3, 1]
            assert os.getpid() not in homes
            assert [await stack.ping(client, client, deadline_s=5.0) for client in range(7)] == [*range(7)]
            # Each adds its own number, from 1.
            history = await stack.run(initial_model=ModelState.from_arrays({"w": np.zeros(1000, np.float32)}))
            assert (history.model["w"] == 4.0 * len(history.rounds)).all()
        finally:
            await stack.stop()
            await stack.stop()
        assert not [home for home in homes if running(home)]

    run(main(), loop)


async def test_a_broadcast_reaches_every_client_of_a_process() -> None:
    stack = FederationStack("push", "network", {})
    await stack.start(FederationSpec(6, WATCHING, {"model_bytes": 64}, methods=("applied",), per_process=4))
    try:
        model = ModelState.from_arrays({"values": np.full(16, 4, np.float32)}, 4)
        assert list((await stack.broadcast(model)).values()) == [None] * 6
        applied = [await stack.ask(client, "applied") for client in range(6)]
        assert applied == [{"versions": [4], "ends": [[4.0, 4.0]]}] * 6
    finally:
        await stack.stop()


async def test_a_stack_with_a_crowd_can_be_started_again() -> None:
    stack = FederationStack("push", "network", {})
    for clients in (2, 4):
        await stack.start(spec(clients, 2))
        assert len(set(await pids(stack, clients))) == clients // 2
        await stack.stop()


async def test_clients_that_cannot_be_made_are_an_error() -> None:
    stack = FederationStack("push", "network", {})
    with pytest.raises(RegistrationError, match=r"crowd_1 ended \(exit code 1\) before its clients had"):
        await stack.start(FederationSpec(2, WATCHING, methods=("undefined",), per_process=2))
    await stack.stop()


async def test_a_server_that_cannot_listen_starts_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = from_mapping(mapping("network", transport={"port": port}))
        with pytest.raises(RoutingError, match="cannot listen"):
            await CrowdedFederation(config, 2).start()


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05])
async def test_a_start_can_be_cancelled(after_s: float) -> None:
    stack = FederationStack("push", "network", {})
    start = asyncio.create_task(stack.start(spec(20, 5)))
    await asyncio.sleep(after_s)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await stack.stop()


async def test_a_process_that_is_killed_takes_its_clients_along_and_no_others() -> None:
    stack = FederationStack("push", "network", {})
    await stack.start(spec(4, 2))
    try:
        homes = await pids(stack, 4)
        os.kill(homes[0], signal.SIGKILL)
        await until(lambda: not running(homes[0]))
        with pytest.raises(DeadlineExceeded):
            await stack.ping(0, None, deadline_s=0.1)
        assert await stack.ping(2, "here", deadline_s=5.0) == "here"
    finally:
        await stack.stop()
    assert not [home for home in homes if running(home)]


async def test_clients_end_with_a_server_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        homes = {int(pid) for pid in server.stdout.readline().split()}
        server.kill()
        await until(lambda: not any(map(running, homes)))
    assert len(homes) == 2


@pytest.mark.parametrize(
    ("name", "mode"), [("push", "memory"), ("push", "process"), ("polling", "memory"), ("polling", "network")]
)
async def test_others_have_no_crowds(name: str, mode: str) -> None:
    stack = FederationStack(name, mode, {})
    with pytest.raises(Unsupported, match=f"push by network only, not under {name} by {mode}"):
        await stack.start(spec(2, 2))
    await stack.stop()
