"""The process of a polling client: it ends when its server does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.fakes.fleet import running
from tests.pace import limit_s

SERVER = """
import asyncio, os
from fedbench import Federation
from fedbench.messages import Kind

async def main():
    config = {"mode": "MODE", "architecture": "polling", "polling": {"warn_on_timeout": False},
              "clients": {"count": 2, "learner": {"type": "tests.fakes.fleet:Stepper"},
                          "rpc": {"allowed_methods": ["pid"]}}}
    federation = Federation.from_mapping(config)
    await federation.start()
    call = {"args": [], "kwargs": {}}
    pids = [(await p.call(Kind.RPC_REQUEST, "pid", call, None, 10)).body for p in federation.learners()]
    print(*pids, flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["process", "network"])
def test_clients_are_gone_within_a_second_of_the_death_of_their_server(tmp_path, mode):
    script = tmp_path / "server.py"
    script.write_text(SERVER.replace("MODE", mode))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True
    ) as server:
        pids = [int(pid) for pid in server.stdout.readline().split()]
        server.kill()
    end_s = time.monotonic() + limit_s(1.0)
    while time.monotonic() < end_s and any(map(running, pids)):
        time.sleep(0.01)
    assert len(pids) == 2
    assert not [pid for pid in pids if running(pid)]
