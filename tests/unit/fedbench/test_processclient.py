"""The process of a client: it ends with its server, whatever its learner is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from fedbench.tensors.segments import sweep
from tests.fakes.fleet import running
from tests.pace import limit_s

SERVER = """
import asyncio, sys
import numpy as np
from fedbench import Federation

async def main():
    config = {"mode": "MODE", "server": {"trainer": {"args": {"rounds": 1}}},
              "clients": {"count": 3, "learner": {"type": "tests.fakes.fleet:Stepper",
                          "args": {"pause_s": PAUSE, "values": 100000}},
                          "rpc": {"allowed_methods": ["train", "evaluate", "pid"]}}}
    async with Federation.from_mapping(config) as federation:
        print(*[await proxy.call_remote_method("pid") for proxy in federation.learners()], flush=True)
        print((await federation.run()).model["w"][0], flush=True)

if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture(params=["process", "network"])
def serve(request, tmp_path):
    """Start a server that trains for ``pause_s``; return it and the pids of its clients."""
    made = []

    def start(pause_s):
        script = tmp_path / "server.py"
        script.write_text(SERVER.replace("MODE", request.param).replace("PAUSE", str(pause_s)))
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            text=True,
            start_new_session=True,
        )
        made.append(process)
        return process, [int(pid) for pid in process.stdout.readline().split()]

    yield start
    for process in made:
        process.kill()
        process.communicate()
        sweep(process.pid)


def gone_within(pids, timeout_s):
    end_s = time.monotonic() + limit_s(timeout_s)
    while time.monotonic() < end_s and any(map(running, pids)):
        time.sleep(0.01)
    return not any(map(running, pids))


def segments_of(*pids):
    return [
        name for name in os.listdir("/dev/shm") if name.startswith("fb-") and int(name.split("-")[2]) in pids
    ]


def test_clients_are_gone_within_a_second_of_their_servers_death_and_leftovers_are_swept(serve):
    server, pids = serve(30)
    time.sleep(0.2)
    server.kill()
    assert len(pids) == 3
    assert gone_within(pids, 1.0)
    server.wait()
    for pid in (server.pid, *pids):
        sweep(pid)
    assert segments_of(server.pid, *pids) == []


def test_ctrl_c_ends_all_in_order_within_five_seconds(serve):
    server, pids = serve(1.5)
    time.sleep(0.2)
    started_s = time.monotonic()
    os.killpg(server.pid, signal.SIGINT)  # as a terminal does: to every process
    output, errors = server.communicate(timeout=limit_s(10))
    assert time.monotonic() - started_s < limit_s(5.0)
    assert server.returncode == 130
    assert not any(map(running, pids))
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert output == ""
    assert segments_of(server.pid, *pids) == []


def test_an_undisturbed_run_prints_its_model_and_nothing_else(serve):
    server, pids = serve(0)
    output, errors = server.communicate(timeout=limit_s(30))
    assert (output, errors) == ("2.0\n", "")
    assert gone_within(pids, 0.1)
    assert segments_of(server.pid, *pids) == []
