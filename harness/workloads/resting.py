"""Workloads without traffic: an idle federation, the floors of the event loop, the import."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stacks.floors import expected_s
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping


class IdleFederation(Workload):
    """A federation that is up and has nothing to do. Timed from outside.

    With ``heartbeat_s`` its server has that heartbeat, by which a short window holds several.
    """

    kind = "idle_federation"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 100,
        "idle_s": 2.0,
        "settle_s": 0.4,
        "heartbeat_s": 0.0,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long it idles, and a poller to answer once afterwards."""
        return SETUP_S + float(self.params["idle_s"] + self.params["settle_s"]) + 3 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Do nothing; afterwards every client must still answer."""
        clients = self.params["clients"]
        heartbeat_s = float(self.params["heartbeat_s"])
        spec = FederationSpec(clients, f"{LEARNERS}:EchoLearner", heartbeat_s=heartbeat_s)
        async with running(stack, spec):
            await session.hold(self.params["settle_s"])
            async with session.measured():
                await session.hold(self.params["idle_s"])
            answers = await asyncio.gather(*(stack.ping(i, i, deadline_s=30.0) for i in range(clients)))
            wrong = [
                f"client {i} answered {a!r} after the idle time" for i, a in enumerate(answers) if a != i
            ]
        return Outcome(clients=clients, wrong=wrong)


class Floor(Workload):
    """One operation of the event loop itself, again and again."""

    kind = "floor"
    defaults: ClassVar[Mapping[str, Any]] = {"operation": "hop", "operations": 5000}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes: a tenth to warm up, then all of it."""
        operation, operations = self.params["operation"], self.params["operations"]
        return sum(expected_s(operation, count) for count in (operations // 10, operations) if count)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Do a tenth of the operations to warm up, then time every operation.

        Those between processes have a child for each of the two, and warm it by themselves.
        """
        await stack.floor(self.params["operation"], self.params["operations"] // 10)
        latency = Histogram()
        async with session.measured():
            times_ns = await stack.floor(self.params["operation"], self.params["operations"])
        latency.record_many(np.array(times_ns, np.int64))
        return Outcome(
            operations=latency.count,
            histograms={"latency": latency.to_dict()},
            missing=of_the_window("its window holds what sets the operation up, too"),
        )


class ImportTime(Workload):
    """How long ``import fedbench`` takes in a new interpreter."""

    kind = "import_time"
    defaults: ClassVar[Mapping[str, Any]] = {"operations": 3}
    code = (
        "import time; start = time.perf_counter_ns(); import fedbench; print(time.perf_counter_ns() - start)"
    )

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes."""
        return 0.25 * float(self.params["operations"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Import once to warm the file cache, then time every import from within its interpreter."""
        await self._import_ns()
        latency = Histogram()
        async with session.measured():
            for _ in range(self.params["operations"]):
                latency.record(await self._import_ns())
        return Outcome(
            operations=latency.count,
            histograms={"latency": latency.to_dict()},
        )

    async def _import_ns(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", self.code, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"importing fedbench ended with exit code {process.returncode}")
        return int(output)
