"""Workloads of single calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from fedbench.errors import DeadlineExceeded
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stacks.floors import hops
from harness.stats.histogram import Histogram
from harness.workloads.base import FLOOR_WITHIN, LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.beside import against_floor, create_reference
from harness.workloads.beside_process import open_trips, trips_s
from harness.workloads.in_turn import HopsInTurn, in_hops
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
"""Hops timed on either side of the calls where a floor takes their turn."""
CHUNK = 50
"""Calls in a row, and as many hops or round trips of the floor before them; so many of both warm up."""


class RpcPing(Workload):
    """Calls in a closed loop, one at a time, to every client in turn. Latency: call to answer.

    The loop's own hop is timed in turn with the calls, 50 hops before 50 calls, so that a call can be told in
    hops of the same moment; what CPU time they take is known and taken off.

    The ``floor``, if it names one, is a round trip over a bare ``queue`` or WebSocket (``ws_echo``) to
    another process, which lives as long as the clients do. It takes the turn of the hops, which are then
    timed before and after. With ``two_cores`` the other ends of both have a core of their own.

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
        floor, beside = open_trips(self.params["floor"]), bool(self.params["floor"])
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
                hops_ns = await hops(HOPS if beside else CHUNK)
                await trips(CHUNK)
                turn = HopsInTurn()
                async with session.measured():
                    latency, floor_ns, reference_ns, wrong = await self._calls(
                        stack, trips if beside else turn, behind
                    )
                if beside:
                    hops_ns += await hops(HOPS)
        return Outcome(
            operations=latency.count,
            clients=clients,
            histograms={"latency": latency.to_dict()},
            values=in_hops(latency, turn.times_ns or hops_ns)
            | (against_floor(floor_ns, latency, reference_ns) if beside else {}),
            missing=of_the_window(FLOOR_WITHIN) if beside else turn.missing(),
            floor_cpu_s=turn.cpu_s,
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
    ) -> tuple[Histogram, list[int], list[int], list[str]]:
        """Return the latency of the calls, times of trips and CPU reference between them, what was wrong.

        Trips and reference take nothing of the calls' duration.

        Raises:
            Saturated: A poller did not answer in time.
        """
        reference = create_reference(self.params["floor"])
        latency, floor_ns, reference_ns, wrong = Histogram(), [], [], []
        end_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 1e9)
        for i in range(self.params["operations"]):
            if i % CHUNK == 0:
                away_ns = time.perf_counter_ns()
                floor_ns += await trips(CHUNK)
                if reference is not None:
                    reference_ns.append(reference.time())
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
        return latency, floor_ns, reference_ns, wrong
