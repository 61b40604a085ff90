"""Workloads without traffic: an idle federation, and the floors of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records.derive import Outcome
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping


class IdleFederation(Workload):
    """A federation that is up and has nothing to do. Timed from outside."""

    kind = "idle_federation"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 100, "idle_s": 2.0, "settle_s": 0.2}

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long it idles, and a poller to answer once afterwards."""
        return SETUP_S + float(self.params["idle_s"] + self.params["settle_s"]) + 3 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Do nothing; afterwards every client must still answer."""
        clients = self.params["clients"]
        async with running(stack, FederationSpec(clients, f"{LEARNERS}:EchoLearner")):
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
        """Return about how long it takes."""
        return 10e-6 * float(self.params["operations"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Warm up, then time every operation."""
        await stack.floor(self.params["operation"], self.params["operations"] // 10)
        latency = Histogram()
        async with session.measured():
            for time_ns in await stack.floor(self.params["operation"], self.params["operations"]):
                latency.record(time_ns)
        return Outcome(operations=latency.count, histograms={"latency": latency.to_dict()})
