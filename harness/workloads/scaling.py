"""Workloads about size: how long many clients take to start, and what each more of them costs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.probes.memory import headline_bytes, private_bytes
from harness.probes.tree import process_tree
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_START_S = 0.012


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


def _client_bytes() -> float:
    """Return the mean private memory (USS) of the clients' processes, 0 where they have none."""
    found = []
    for child in process_tree(os.getpid())[1:]:
        with_parent = process_tree(child)
        found += [private_bytes(pid) for pid in with_parent[1:]]
    return float(np.mean(found)) if found else 0.0
