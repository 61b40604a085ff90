"""Workloads about size: how long many clients take to start, and what each more of them costs."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.probes.memory import headline_bytes, private_bytes
from harness.probes.tree import process_tree
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.workloads.base import CROWD_CLIENT_S, LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_START_S = 0.012
WARM_CLIENTS = 20
"""So many clients have come and gone before the memory of a crowd's server is read for the first time."""
TOGETHER = 100
"""Clients that are asked at the same time."""


class Startup(Workload):
    """From nothing to every client registered. Run it first in its process: what it warms stays warm."""

    kind = "startup"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 100}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long the clients' processes take."""
        return SETUP_S + CLIENT_START_S * float(self.params["clients"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Start a federation; every client must answer."""
        clients = self.params["clients"]
        try:
            async with session.measured():
                start_ns = time.perf_counter_ns()
                await stack.start(FederationSpec(clients, f"{LEARNERS}:EchoLearner"))
                start_s = (time.perf_counter_ns() - start_ns) / 1e9
            answers = [await stack.ping(i, i, deadline_s=30.0) for i in range(clients)]
        finally:
            await stack.stop()
        wrong = [f"client {i} answered {a!r}" for i, a in enumerate(answers) if a != i]
        return Outcome(operations=1, clients=clients, values={"start_s": start_s}, wrong=wrong)


class MemorySlope(Workload):
    """Memory of federations of growing size, after a round; the slope is what one more client costs.

    The memory of one federation is the sum of its processes' proportional set sizes and of its segments
    (see :mod:`harness.probes.memory`), read by the worker itself while nothing runs. The slope is the least
    squares fit over the sizes. Processes two below the worker are clients, forked by the fork server.
    """

    kind = "memory_slope"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 60, "step": 20, "model_bytes": 4096}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes to start all of them, one after the other."""
        return sum(4 * SETUP_S + CLIENT_START_S * size for size in self._sizes())

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Start federations of ``step``, 2 x ``step`` … ``clients`` clients, one after the other."""
        sizes, totals_bytes, idle_bytes = self._sizes(), [], 0.0
        model_bytes = self.params["model_bytes"]
        async with session.measured():
            for clients in sizes:
                spec = FederationSpec(
                    clients, f"{LEARNERS}:DraftLearner", {"model_bytes": model_bytes}, {"rounds": 1}
                )
                async with running(stack, spec):
                    await session.hold(0.1)
                    idle_bytes = _client_bytes()
                    await stack.run()
                    await session.hold(0.1)
                    totals_bytes.append(headline_bytes(process_tree(os.getpid())))
        values = {"memory_per_client_bytes": float(np.polyfit(sizes, totals_bytes, 1)[0])}
        if idle_bytes:
            values["uss_per_client_bytes"] = idle_bytes
        return Outcome(
            operations=len(sizes),
            clients=sizes[-1],
            values=values,
            missing=of_the_window("its federations start and end within its window"),
        )

    def _sizes(self) -> list[int]:
        clients, step = self.params["clients"], self.params["step"]
        if clients < 2 * step:
            raise ValueError(f"clients is {clients}: a slope needs at least two steps of {step}")
        return list(range(step, clients + 1, step))


class Crowd(Workload):
    """A server with very many clients that have nothing to do: what each of them costs it.

    Memory and CPU are those of the worker, which is the server's process, read by itself: memory as private
    pages (USS) before any of the clients is there and when all are, CPU while they idle. A small federation
    before that has imported everything.
    """

    kind = "crowd"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 1000,
        "per_process": 1000,
        "idle_s": 2.0,
        "settle_s": 0.5,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long it idles, and about how long the clients take to come, to answer and to go."""
        clients: int = self.params["clients"]
        per_process: int = self.params["per_process"]
        processes = math.ceil(clients / per_process)
        idle_s = float(self.params["idle_s"] + self.params["settle_s"])
        return 1.0 + idle_s + CLIENT_START_S * processes + CROWD_CLIENT_S * clients + 3 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Start it, do nothing for a while and ask every client."""
        clients = self.params["clients"]
        async with running(stack, self._spec(min(clients, WARM_CLIENTS))):
            pass
        before_bytes, start_ns = _own_bytes(), time.perf_counter_ns()
        async with running(stack, self._spec(clients)):
            start_s = (time.perf_counter_ns() - start_ns) / 1e9
            await session.hold(self.params["settle_s"])
            taken_bytes = _own_bytes() - before_bytes
            async with session.measured():
                start_ns, busy_ns = time.perf_counter_ns(), time.process_time_ns()
                await session.hold(self.params["idle_s"])
                busy_ns = time.process_time_ns() - busy_ns
                idle_ns = time.perf_counter_ns() - start_ns
            answers = await _answers(stack, clients)
        wrong = [f"client {i} answered {answer!r}" for i, answer in enumerate(answers) if answer != i]
        return Outcome(
            clients=clients,
            values={
                "start_s": start_s,
                "server_per_client_bytes": taken_bytes / clients,
                "server_cpu_cores": busy_ns / idle_ns,
                "clients": float(clients - len(wrong)),
            },
            wrong=wrong,
        )

    def _spec(self, clients: int) -> FederationSpec:
        return FederationSpec(clients, f"{LEARNERS}:EchoLearner", per_process=self.params["per_process"])


async def _answers(stack: Stack, clients: int) -> list[Any]:
    """Return what each client made of its number, or what it raised."""
    answers: list[Any] = []
    for first in range(0, clients, TOGETHER):
        some = range(first, min(first + TOGETHER, clients))
        asked = (stack.ping(i, i, deadline_s=30.0) for i in some)
        answers += await asyncio.gather(*asked, return_exceptions=True)
    return answers


def _own_bytes() -> int:
    """Return the private memory (USS) of this process, without its garbage."""
    gc.collect()
    return private_bytes(os.getpid())


def _client_bytes() -> float:
    """Return the mean private memory (USS) of the clients' processes, 0 where they have none."""
    found = []
    for child in process_tree(os.getpid())[1:]:
        with_parent = process_tree(child)
        found += [private_bytes(pid) for pid in with_parent[1:]]
    return float(np.mean(found)) if found else 0.0
