"""Workloads in which one client does not keep up: what that does to the others."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from typing import TYPE_CHECKING, Any, ClassVar

from fedbench.errors import DeadlineExceeded, Overloaded
from harness.records.derive import Outcome, of_the_log, of_the_window
from harness.stacks.base import FederationSpec, Stack, Unsupported
from harness.stats.histogram import Histogram
from harness.workloads.arrivals import Arrivals
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHOUT_WITHIN = "its window holds the calls without the slow one, too"
SLICES_WITHIN = "its window holds the slices without the flood, too"
OVERLAPPING = "notifications overlap: one collection may hold up several"
PING_DEADLINE_S = 30.0
FLOOD_TICK_S = 2e-3
"""Pause between the bursts of a flood, in seconds: what else runs in the loop gets its turn."""


class Straggler(Workload):
    """Calls to all clients but one in turn, while that one is slow to answer, and as many while it is not.

    The two take turns in one federation. Latency: of the calls beside the slow one. A ``deadline_s`` below
    ``slow_s`` makes the slow client one that never answers: each such call must then end with
    ``DeadlineExceeded``, and ``deadline_error_max_s`` is how far from its deadline it ended.
    """

    kind = "straggler"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 10,
        "operations": 10,
        "slow_s": 0.05,
        "deadline_s": 10.0,
        "duration_s": 2.0,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the slow calls take, and the calls beside them once more, or as long as it may."""
        pair_s = 2 * min(self.params["slow_s"], self.params["deadline_s"]) + 3 * poll_s
        return SETUP_S + float(min(self.params["operations"] * pair_s, self.params["duration_s"] + pair_s))

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Call until the slow calls or the duration are used up; every call must end as it has to.

        Raises:
            ValueError: There is nobody but the slow client.
        """
        clients = self.params["clients"]
        if clients < 2:
            raise ValueError("clients is 1: a straggler needs others beside it")
        errors_s: list[float] = []
        beside, without, wrong = Histogram(), Histogram(), []
        numbers = itertools.count()
        spec = FederationSpec(
            clients, f"{LEARNERS}:LateLearner", {"slow_s": self.params["slow_s"]}, methods=("late",)
        )
        async with running(stack, spec):
            for client in range(clients):
                await stack.ping(client, -1, deadline_s=PING_DEADLINE_S)
            async with session.measured():
                end_ns = time.monotonic_ns() + int(self.params["duration_s"] * 1e9)
                for _ in range(self.params["operations"]):
                    before = beside.count
                    slow = asyncio.create_task(self._late(stack, errors_s))
                    try:
                        while not slow.done():
                            wrong += await self._ping(stack, next(numbers), beside)
                        wrong += await slow
                    finally:
                        slow.cancel()
                    for _ in range(beside.count - before):
                        wrong += await self._ping(stack, next(numbers), without)
                    if time.monotonic_ns() > end_ns:
                        break
        values = inflation(beside, without)
        if errors_s:
            values["deadline_error_max_s"] = max(errors_s)
        return Outcome(
            operations=beside.count,
            clients=clients,
            histograms={"latency": beside.to_dict()},
            values=values,
            missing=of_the_window(WITHOUT_WITHIN) | of_the_log(WITHOUT_WITHIN),
            wrong=wrong,
        )

    async def _ping(self, stack: Stack, number: int, latency: Histogram) -> list[str]:
        client = 1 + number % (self.params["clients"] - 1)
        start_ns = time.monotonic_ns()
        answer = await stack.ping(client, number, deadline_s=PING_DEADLINE_S)
        latency.record(time.monotonic_ns() - start_ns)
        return [] if answer == number else [f"ping {number} was answered with {answer!r}"]

    async def _late(self, stack: Stack, errors_s: list[float]) -> list[str]:
        """Make a slow call; return what was wrong with its end, and note how exact a deadline was."""
        slow_s, deadline_s = self.params["slow_s"], self.params["deadline_s"]
        start_ns = time.monotonic_ns()
        try:
            answer = await stack.ask(0, "late", deadline_s=deadline_s)
        except DeadlineExceeded:
            taken_s = (time.monotonic_ns() - start_ns) / 1e9
            errors_s.append(abs(taken_s - deadline_s))
            if deadline_s < slow_s:
                return []
            return [f"a call of {slow_s} s missed its deadline of {deadline_s} s after {taken_s:.3f} s"]
        if deadline_s < slow_s:
            return [f"a call of {slow_s} s was answered in spite of its deadline of {deadline_s} s"]
        return [] if answer == 0 else [f"the slow call was answered with {answer!r}"]


class SlowConsumer(Workload):
    """Notifications to all clients but one at random (Poisson) times, while that one is flooded and slow.

    Slices with the flood and without take turns in one federation. Latency: send to handler of the others
    beside the flood. The queue to the slow client must be bounded: from some point on, sends to it are
    refused (``backpressure_s``, ``queued_messages``), and what was not refused is handled once and in order.
    """

    kind = "slow_consumer"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 5,
        "slices": 2,
        "slice_s": 0.6,
        "rate_per_s": 300.0,
        "flood_per_s": 5000.0,
        "slow_s": 0.05,
        "drain_s": 30.0,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the slices take, and what was queued in each about as long as it took to queue."""
        return SETUP_S + float(self.params["slices"] * 2.3 * self.params["slice_s"]) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Send through all slices, and check what every client handled.

        Raises:
            Unsupported: Nothing bounds the mailbox of a poller.
            ValueError: There is nobody but the slow client.
        """
        clients = self.params["clients"]
        if clients < 2:
            raise ValueError("clients is 1: a slow consumer needs others beside it")
        if stack.name == "polling":
            raise Unsupported("polling has mailboxes without bounds: nobody is told of a slow consumer")
        spec = FederationSpec(
            clients,
            f"{LEARNERS}:SlowLearner",
            {"slow_s": self.params["slow_s"]},
            methods=("slow", "hurry", "collected"),
        )
        traffic = _Traffic(stack, self.params)
        async with running(stack, spec), session.measured(memory=True):
            for _ in range(self.params["slices"]):
                await traffic.slice(flooded=False)
                await stack.ask(0, "slow")
                await traffic.slice(flooded=True)
                await stack.ask(0, "hurry", deadline_s=self.params["drain_s"])
            async with asyncio.timeout(self.params["drain_s"]):
                asked = (stack.ask(client, "collected") for client in range(clients))
                events = await asyncio.gather(*asked)
        return traffic.outcome(events)


class _Traffic:
    """What was sent in all slices, and what of it was refused."""

    def __init__(self, stack: Stack, params: Mapping[str, Any]) -> None:
        self._stack, self._params = stack, params
        self._rng = random.Random(params["seed"])
        self._arrivals = Arrivals(params["rate_per_s"], self._rng)
        self._sent: list[list[int]] = [[] for _ in range(params["clients"])]
        self._number = 0
        self._backpressure_s: list[float] = []
        self._queued: list[int] = []
        self._wrong: list[str] = []

    async def slice(self, *, flooded: bool) -> None:
        """Notify the others for a while; flood the slow client meanwhile, or not."""
        self._arrivals.restart()
        end_ns = time.monotonic_ns() + int(self._params["slice_s"] * 1e9)
        flood = asyncio.create_task(self._flood(end_ns)) if flooded else None
        try:
            while (arrival := await self._arrivals.next()).now_ns < end_ns:
                client = self._rng.randrange(1, self._params["clients"])
                self._notify(client, [self._next(), arrival.now_ns, flooded], arrival.intended_ns)
        finally:
            if flood is not None:
                await flood

    def outcome(self, events: list[Any]) -> Outcome:
        """Return what came of it, from what each client handled and when."""
        latency = {True: Histogram(), False: Histogram()}
        wrong = self._wrong
        for client, handled in enumerate(events):
            for handled_ns, (_, sent_ns, flooded) in handled if client else ():
                latency[flooded].record(handled_ns - sent_ns)
            came, sent = [data[0] for _, data in handled], self._sent[client]
            if came != sent:
                missed, strange = len(set(sent) - set(came)), len(came) - len(set(came) & set(sent))
                wrong.append(
                    f"client {client} was sent {len(sent)} events and handled {len(came)}: "
                    f"{missed} missed, {strange} unasked or again, or out of order"
                )
        values = inflation(latency[True], latency[False])
        if self._backpressure_s:
            values["backpressure_s"] = statistics.median(self._backpressure_s)
            values["queued_messages"] = float(max(self._queued))
        return Outcome(
            operations=latency[True].count,
            clients=self._params["clients"],
            histograms={"latency": latency[True].to_dict(), "lag": self._arrivals.lag.to_dict()},
            values=values,
            missing=of_the_window(SLICES_WITHIN) | of_the_log(SLICES_WITHIN) | {"gc_slow_share": OVERLAPPING},
            wrong=wrong,
        )

    async def _flood(self, end_ns: int) -> None:
        """Send to the slow client at a steady rate until the end, whether it is refused or not.

        What was held up is sent in the end: a flood has the same size on a busy machine.
        """
        start_ns, tried, taken, refused = time.monotonic_ns(), 0, 0, False
        ended = False
        while not ended:
            now_ns = time.monotonic_ns()
            ended = now_ns >= end_ns
            due = int((min(now_ns, end_ns) - start_ns) / 1e9 * self._params["flood_per_s"])
            while tried < due:
                tried += 1
                if self._notify(0, [self._next(), 0, True], 0):
                    taken += 1
                elif not refused:
                    refused = True
                    self._backpressure_s.append((time.monotonic_ns() - start_ns) / 1e9)
                    self._queued.append(taken)
            if not ended:
                await asyncio.sleep(FLOOD_TICK_S)
        if not refused:
            self._wrong.append(f"client 0 was slow, and none of {tried} notifications to it was refused")

    def _notify(self, client: int, data: list[Any], intended_ns: int) -> bool:
        """Send; return False if that was refused, which nobody but the slow client may bring about."""
        try:
            self._stack.notify(client, data, intended_ns=intended_ns)
        except Overloaded as error:
            if client:
                self._wrong.append(f"notification {data[0]} to client {client} was refused: {error}")
            return False
        self._sent[client].append(data[0])
        return True

    def _next(self) -> int:
        self._number += 1
        return self._number


def inflation(beside: Histogram, without: Histogram) -> dict[str, float]:
    """Return the latency beside as a multiple of that without, at two percentiles; nothing of nothing."""
    if not beside.count or not without.count:
        return {}
    return {
        f"inflation_p{round(p * 100)}_ratio": beside.percentile(p) / max(without.percentile(p), 1.0)
        for p in (0.50, 0.99)
    }
