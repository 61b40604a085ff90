"""Notifications from clients to their server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClientNotify(Workload):
    """Notifications from every client to the server at random (Poisson) times. Latency: send to handler.

    A polling server looks into each client's mailbox at its interval; it begins with the workload, so that
    no other workload pays for it. Both ends share a machine, whose monotonic clock is the same everywhere.

    ``operations`` are those of all clients together, ``rate_per_s`` is their total rate.
    """

    kind = "client_notify"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 20,
        "operations": 200,
        "rate_per_s": 400.0,
        "drain_s": 30.0,
        "seed": 13,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the arrivals take, twice the mean, since the slowest client ends it."""
        return SETUP_S + 2 * float(self.params["operations"] / self.params["rate_per_s"]) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Have the clients report; every notification must be handled once, in order for each client."""
        clients = self.params["clients"]
        each = max(self.params["operations"] // clients, 1)
        inbox = _Inbox(clients, each)
        spec = FederationSpec(clients, f"{LEARNERS}:NotifyingLearner", methods=("report", "reported"))
        async with running(stack, spec):
            stack.on_notify(inbox.take)
            async with session.measured():
                await asyncio.gather(
                    *(stack.ask(i, "report", model=self._order(each)) for i in range(clients))
                )
                async with asyncio.timeout(self.expected_s(poll_s=0.0) + self.params["drain_s"]):
                    await inbox.full.wait()
            # Asked behind the last one: what comes twice has come by now.
            sent = await asyncio.gather(*(stack.ask(i, "reported") for i in range(clients)))
        wrong = inbox.wrong() + [f"client {i} was still sending" for i, over in enumerate(sent) if not over]
        return Outcome(
            operations=clients * each,
            clients=clients,
            histograms={"latency": inbox.latency.to_dict(), "intended": inbox.intended.to_dict()},
            wrong=wrong,
        )

    def _order(self, count: int) -> ModelState:
        rate_per_s = self.params["rate_per_s"] / self.params["clients"]
        values = {"rate_per_s": rate_per_s, "count": count, "seed": self.params["seed"]}
        return ModelState.from_arrays({name: np.array([float(value)]) for name, value in values.items()})


class _Inbox:
    """What the server has been notified of.

    Attributes:
        full: Set once as many have come as were sent.
        latency: Send to handler, ns.
        intended: Intended time of sending to handler, ns.
    """

    def __init__(self, clients: int, each: int) -> None:
        self.full = asyncio.Event()
        self.latency, self.intended = Histogram(), Histogram()
        self._each = each
        self._left = clients * each
        self._numbers: list[list[int]] = [[] for _ in range(clients)]

    def take(self, event_type: str, data: Any) -> None:
        """Note a notification."""
        now_ns = time.monotonic_ns()
        client, number, sent_ns, intended_ns = data
        self.latency.record(now_ns - sent_ns)
        self.intended.record(max(now_ns - intended_ns, 0))
        self._numbers[client].append(number)
        self._left -= 1
        if self._left <= 0:
            self.full.set()

    def wrong(self) -> list[str]:
        """Return what is wrong with what came from each client."""
        expected = list(range(self._each))
        return [
            f"client {client} sent {self._each} notifications and the server handled {came}"
            for client, came in enumerate(self._numbers)
            if came != expected
        ]
