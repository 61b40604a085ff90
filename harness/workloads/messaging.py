"""Workloads of single messages: calls and notifications."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING, Any, ClassVar

from fedbench.errors import DeadlineExceeded
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stacks.floors import hops
from harness.stats.histogram import Histogram
from harness.workloads.arrivals import Arrivals
from harness.workloads.base import FLOOR_WITHIN, LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.beside import against_floor
from harness.workloads.beside_process import open_trips, trips_s
from harness.workloads.openloop import (
    CAPACITY_WINDOWS,
    GENERATOR_WITHIN,
    NUMBER_BYTES,
    Caller,
    arrivals_at,
    padding,
)
from harness.workloads.placement import two_cores
from harness.workloads.saturation import unanswered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.stacks.floors_process import Timed

ECHO = f"{LEARNERS}:EchoLearner"
DEADLINE_S = 10.0
CALL_S = 150e-6
"""About how long a call takes to another process or over a network, in seconds; in memory it is a tenth."""
HOPS = 3000
"""Hops timed on either side of the calls."""
CHUNK = 50
"""Calls in a row, and as many round trips of the floor before them; so many of both warm up."""


class RpcPing(Workload):
    """Calls in a closed loop, one at a time, to every client in turn. Latency: call to answer.

    The loop's own hop is timed right before and after, so that a call can be told in hops of the same moment.
    The ``floor``, if it names one, is a round trip over a bare ``queue`` or WebSocket (``ws_echo``) to
    another process, which lives as long as the clients do. It is timed in turn with the calls: 50 of them, 50
    calls, again and again. With ``two_cores`` the other ends of both have a core of their own.

    With a ``load`` the loop is open: ``callers`` calls at any time tell the capacity, once warm, twice for
    ``capacity_s``. The larger counts; then calls begin at random (Poisson) times at that share of it.
    Latency from the intended time stands beside.
    """

    kind = "rpc_ping"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 100,
        "operations": 3000,
        "duration_s": 1.0,
        "warmup": 50,
        "payload_bytes": 64,
        "floor": "",
        "two_cores": False,
        "load": 0.0,
        "callers": 128,
        "capacity_s": 0.3,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller, or a call's time each without; and a floor's trips.

        With a load it is the longest it runs at all.
        """
        duration_s = float(self.params["duration_s"])
        if self.params["load"]:
            return SETUP_S + float(CAPACITY_WINDOWS * self.params["capacity_s"]) + duration_s
        operations = self.params["operations"]
        calls_s = 1.3 * duration_s if poll_s else min(CALL_S * operations, duration_s)
        return SETUP_S + calls_s + trips_s(self.params["floor"], operations)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Ping until the operations or the duration are used up, whichever is first.

        Raises:
            Saturated: A poller did not answer in time.
            ValueError: The payload is too small to tell the calls apart.
        """
        behind = padding(self.params["payload_bytes"])
        if self.params["load"]:
            return await self._open_loop(stack, session)
        clients = self.params["clients"]
        floor = open_trips(self.params["floor"])
        async with running(stack, FederationSpec(clients, ECHO)), floor as trips:
            warm_until_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 0.3e9)
            for i in range(self.params["warmup"]):
                try:
                    await stack.ping(i % clients, bytes(self.params["payload_bytes"]), deadline_s=DEADLINE_S)
                except DeadlineExceeded as error:
                    raise unanswered(stack, clients, Histogram(), error) from None
                if time.perf_counter_ns() > warm_until_ns:
                    break
            with two_cores(wanted=self.params["two_cores"]):
                await trips(CHUNK)
                hops_ns = await hops(HOPS)
                async with session.measured():
                    latency, floor_ns, wrong = await self._calls(stack, trips, behind)
                hops_ns += await hops(HOPS)
        return Outcome(
            operations=latency.count,
            clients=clients,
            histograms={"latency": latency.to_dict()},
            values={"latency_hops": latency.percentile(0.5) / statistics.median(hops_ns)}
            | against_floor(floor_ns, latency),
            missing=of_the_window(FLOOR_WITHIN) if floor_ns else {},
            wrong=wrong,
        )

    async def _open_loop(self, stack: Stack, session: Session) -> Outcome:
        """Find the capacity, then call at a share of it; every call must be answered rightly.

        Raises:
            ValueError: There is a floor, too.
        """
        clients, payload_bytes = self.params["clients"], self.params["payload_bytes"]
        if self.params["floor"]:
            raise ValueError("a floor is timed between calls in turn: leave out 'floor' or 'load'")
        async with running(stack, FederationSpec(clients, ECHO)):
            with two_cores(wanted=self.params["two_cores"]):
                warm = Caller(stack, clients, payload_bytes, DEADLINE_S)
                capacity = await warm.capacity(self.params["callers"], self.params["capacity_s"])
                arrivals = arrivals_at(self.params["load"] * capacity.per_s, self.params["seed"])
                caller = Caller(stack, clients, payload_bytes, DEADLINE_S)
                async with session.measured():
                    begun = await caller.offer(arrivals, self.params["duration_s"], self.params["operations"])
        wrong = warm.wrong + caller.wrong
        if caller.late or caller.refused:
            wrong.append(f"of {begun} calls {caller.late} came too late and {caller.refused} were refused")
        return Outcome(
            operations=begun,
            clients=clients,
            histograms={
                "latency": caller.latency.to_dict(),
                "intended": caller.intended.to_dict(),
                "lag": arrivals.lag.to_dict(),
            },
            values=capacity.values(),
            missing=of_the_window(GENERATOR_WITHIN),
            wrong=wrong,
        )

    async def _calls(
        self, stack: Stack, trips: Timed, behind: bytes
    ) -> tuple[Histogram, list[int], list[str]]:
        """Return the latency of the calls, the times of the trips between them, and what was wrong.

        The trips take nothing of the calls' duration.

        Raises:
            Saturated: A poller did not answer in time.
        """
        latency, floor_ns, wrong = Histogram(), [], []
        end_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 1e9)
        for i in range(self.params["operations"]):
            if i % CHUNK == 0:
                away_ns = time.perf_counter_ns()
                floor_ns += await trips(CHUNK)
                end_ns += time.perf_counter_ns() - away_ns
            client, payload = i % self.params["clients"], i.to_bytes(NUMBER_BYTES, "little") + behind
            start_ns = time.perf_counter_ns()
            try:
                answer = await stack.ping(client, payload, deadline_s=DEADLINE_S)
            except DeadlineExceeded as error:
                raise unanswered(stack, self.params["clients"], latency, error) from None
            now_ns = time.perf_counter_ns()
            latency.record(now_ns - start_ns)
            if answer != payload:
                wrong.append(f"ping {i} was answered with {answer!r}")
            if now_ns > end_ns:
                break
        return latency, floor_ns, wrong


class PushNotify(Workload):
    """Notifications to random clients at random (Poisson) times. Latency: send to handler.

    Nothing but an answer of a client shows that it has handled all: what is measured ends with one call to
    each, which brings what it has handled. That is in the CPU, the wake-ups and the rates per notification.
    """

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
        arrivals = Arrivals(self.params["rate_per_s"], rng)
        sent: dict[int, list[int]] = {client: [] for client in range(clients)}
        async with running(stack, FederationSpec(clients, ECHO, methods=("collected",))):
            async with session.measured():
                for i in range(operations):
                    intended_ns, now_ns = await arrivals.next()
                    client = rng.randrange(clients)
                    sent[client].append(i)
                    stack.notify(client, [i, now_ns, intended_ns], intended_ns=intended_ns)
                events = await _collected(stack, clients, self.params["drain_s"])
            latency, intended, wrong = _handled(events, sent)
        return Outcome(
            operations=operations,
            clients=clients,
            histograms={
                "latency": latency.to_dict(),
                "intended": intended.to_dict(),
                "lag": arrivals.lag.to_dict(),
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
