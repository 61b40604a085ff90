"""Workloads of single messages: calls, notifications and broadcasts."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stacks.floors import hops
from harness.stacks.floors_process import queue
from harness.stats.histogram import Histogram
from harness.workloads.base import FLOOR_WITHIN, LEARNERS, SETUP_S, Session, Workload, failures, running
from harness.workloads.beside import against_floor, create_beside

if TYPE_CHECKING:
    from collections.abc import Mapping

ECHO = f"{LEARNERS}:EchoLearner"
HOPS = 3000
"""Hops timed on either side of the calls."""
QUEUE_TRIPS = 1000
"""Round trips over a bare queue on either side, of which the first tenth does not count."""


class RpcPing(Workload):
    """Calls in a closed loop, one at a time, to every client in turn. Latency: call to answer.

    The loop's own hop is timed right before and after, so that a call can be told in hops of the same moment,
    and with ``beside_queue`` so are round trips over a bare queue to another process.
    """

    kind = "rpc_ping"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 100,
        "operations": 3000,
        "duration_s": 1.0,
        "warmup": 50,
        "payload_bytes": 64,
        "beside_queue": False,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller, 20 µs a call without."""
        if poll_s:
            return SETUP_S + float(self.params["duration_s"]) * 1.3
        return SETUP_S + 20e-6 * float(self.params["operations"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Ping until the operations or the duration are used up, whichever is first."""
        clients = self.params["clients"]
        queue_ns: list[int] = []
        padding = b"." * (self.params["payload_bytes"] - 8)
        latency = Histogram()
        wrong: list[str] = []
        async with running(stack, FederationSpec(clients, ECHO)):
            warm_until_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 0.3e9)
            for i in range(self.params["warmup"]):
                await stack.ping(i % clients, padding, deadline_s=10.0)
                if time.perf_counter_ns() > warm_until_ns:
                    break
            hops_ns = await hops(HOPS)
            if self.params["beside_queue"]:
                queue_ns += (await queue(QUEUE_TRIPS))[QUEUE_TRIPS // 10 :]
            async with session.measured():
                end_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 1e9)
                for i in range(self.params["operations"]):
                    payload = i.to_bytes(8, "little") + padding
                    start_ns = time.perf_counter_ns()
                    answer = await stack.ping(i % clients, payload, deadline_s=10.0)
                    now_ns = time.perf_counter_ns()
                    latency.record(now_ns - start_ns)
                    if answer != payload:
                        wrong.append(f"ping {i} was answered with {answer!r}")
                    if now_ns > end_ns:
                        break
            hops_ns += await hops(HOPS)
            if self.params["beside_queue"]:
                queue_ns += (await queue(QUEUE_TRIPS))[QUEUE_TRIPS // 10 :]
        values = {"latency_hops": latency.percentile(0.5) / statistics.median(hops_ns)}
        if queue_ns:
            values |= against_floor(queue_ns, latency)
        return Outcome(
            operations=latency.count,
            clients=clients,
            histograms={"latency": latency.to_dict()},
            values=values,
            wrong=wrong,
        )


class PushNotify(Workload):
    """Notifications to random clients at random (Poisson) times. Latency: send to handler."""

    kind = "push_notify"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 100,
        "operations": 400,
        "rate_per_s": 400.0,
        "drain_s": 30.0,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the arrivals take, and a poller to handle a few in turn, under three ids each."""
        return SETUP_S + float(self.params["operations"] / self.params["rate_per_s"]) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Send, wait until every notification was handled, and check that each came once, in order."""
        clients, operations = self.params["clients"], self.params["operations"]
        rng = random.Random(self.params["seed"])
        lag = Histogram()
        sent: dict[int, list[int]] = {client: [] for client in range(clients)}
        async with running(stack, FederationSpec(clients, ECHO, methods=("collected",))):
            async with session.measured():
                intended_ns = time.monotonic_ns()
                for i in range(operations):
                    intended_ns += int(rng.expovariate(self.params["rate_per_s"]) * 1e9)
                    wait_s = (intended_ns - time.monotonic_ns()) / 1e9
                    if wait_s > 0:
                        await asyncio.sleep(wait_s)
                    client = rng.randrange(clients)
                    sent[client].append(i)
                    now_ns = time.monotonic_ns()
                    lag.record(max(now_ns - intended_ns, 0))
                    stack.notify(client, [i, now_ns, intended_ns], intended_ns=intended_ns)
                events = await _collected(stack, clients, self.params["drain_s"])
            latency, intended, wrong = _handled(events, sent)
        return Outcome(
            operations=operations,
            clients=clients,
            histograms={
                "latency": latency.to_dict(),
                "intended": intended.to_dict(),
                "lag": lag.to_dict(),
            },
            wrong=wrong,
        )


async def _collected(stack: Stack, clients: int, timeout_s: float) -> list[Any]:
    """Return each client's events; asked behind the notifications, they are all there.

    Raises:
        TimeoutError: Some did not answer within ``timeout_s`` seconds.
    """
    async with asyncio.timeout(timeout_s):
        return await asyncio.gather(*(stack.ask(client, "collected") for client in range(clients)))


def _handled(events: list[Any], sent: dict[int, list[int]]) -> tuple[Histogram, Histogram, list[str]]:
    latency, intended, wrong = Histogram(), Histogram(), []
    for client, handled in enumerate(events):
        for handled_ns, (_, sent_ns, intended_ns) in handled:
            latency.record(handled_ns - sent_ns)
            intended.record(max(handled_ns - intended_ns, 0))
        came = [data[0] for _, data in handled]
        if came != sent[client]:
            wrong.append(f"client {client} was sent {sent[client]} and handled {came}")
    return latency, intended, wrong


class Broadcast(Workload):
    """A model to every client, again and again. Latency: call to the last acknowledgement.

    Every client reads the model's first and last value before it acknowledges. With ``in_place`` the model
    lies where the server keeps its models before the time is taken; otherwise it is on the heap. The
    ``floor``, if it names one, is timed before each broadcast; beside the ``warmup`` neither counts.
    """

    kind = "broadcast"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 20,
        "model_bytes": 1 << 20,
        "operations": 20,
        "duration_s": 1.0,
        "warmup": 0,
        "in_place": False,
        "floor": "",
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller, 20 µs a client and broadcast without."""
        if poll_s:
            return SETUP_S + float(self.params["duration_s"])
        copied_bytes = self.params["operations"] * self.params["model_bytes"]
        calls = self.params["operations"] * self.params["clients"]
        return SETUP_S + 20e-6 * float(calls) + 1e-9 * float(copied_bytes)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Broadcast until the operations or the duration are used up; every client must apply each once."""
        latency = Histogram()
        wrong: list[str] = []
        values = np.empty(self.params["model_bytes"] // 4, np.float32)
        clients = self.params["clients"]
        beside = create_beside(self.params["floor"], self.params["model_bytes"], clients)
        spec = FederationSpec(
            clients,
            f"{LEARNERS}:WatchingLearner",
            {"model_bytes": self.params["model_bytes"]},
            methods=("applied",),
        )
        async with running(stack, spec):
            async with session.measured():
                end_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 1e9)
                for version in range(1, self.params["warmup"] + self.params["operations"] + 1):
                    values.fill(version)
                    model = ModelState.from_arrays({"values": values}, version)
                    if self.params["in_place"]:
                        model = await stack.place(model)
                    counts = version > self.params["warmup"]
                    if beside is not None:
                        beside.time(counts=counts)
                    start_ns = time.perf_counter_ns()
                    wrong += failures(await stack.broadcast(model))
                    now_ns = time.perf_counter_ns()
                    if counts:
                        latency.record(now_ns - start_ns)
                    if now_ns > end_ns:
                        break
            versions = list(range(1, version + 1))
            expected = {"versions": versions, "ends": [[v, v] for v in versions]}
            applied = [await stack.ask(client, "applied") for client in range(clients)]
            wrong += [f"client {i} applied {found}" for i, found in enumerate(applied) if found != expected]
        return Outcome(
            operations=latency.count,
            clients=clients,
            histograms={"latency": latency.to_dict()},
            values={} if beside is None else against_floor(beside.times_ns, latency),
            missing={} if beside is None else of_the_window(FLOOR_WITHIN),
            wrong=wrong,
        )


class Addressing(Workload):
    """Calls and notifications to every client of a large federation; each must reach its own address only."""

    kind = "addressing"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 200, "messages": 5, "drain_s": 30.0}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long a poller needs."""
        return SETUP_S + (0.3 if poll_s else 0.05)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Call and notify all clients, and count those that got exactly what was theirs."""
        clients, messages = self.params["clients"], self.params["messages"]
        async with running(stack, FederationSpec(clients, ECHO, methods=("collected",))):
            async with session.measured():
                answers = await asyncio.gather(
                    *(stack.ping(client, f"to {client}", deadline_s=30.0) for client in range(clients))
                )
                for number in range(messages):
                    for client in range(clients):
                        stack.notify(client, [client, number], intended_ns=0)
                events = await _collected(stack, clients, self.params["drain_s"])
            wrong = [
                f"client {i} answered {answers[i]!r} and handled {[data for _, data in handled]}"
                for i, handled in enumerate(events)
                if answers[i] != f"to {i}"
                or [data for _, data in handled] != [[i, n] for n in range(messages)]
            ]
        return Outcome(
            operations=clients * (messages + 1),
            clients=clients,
            values={"clients": float(clients - len(wrong))},
            wrong=wrong,
        )
