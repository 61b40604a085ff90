"""Overload: calls come faster than they can be answered. What is still answered in time, and afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from harness.records.derive import Outcome, of_the_log, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.openloop import CAPACITY_WINDOWS, GENERATOR_WITHIN, Caller, arrivals_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.workloads.arrivals import Arrivals

PERCENTS = (50, 75, 100, 125, 150)
"""Offered loads in percent of capacity, one step each."""
LEAD_IN = 5
"""Each load comes for so many times ``late_s`` before its calls count.

At 125 % of capacity, the first load above it, the backlog is as long as ``late_s`` after four times that:
until then even what cannot be served for long is answered in time.
"""
LEAD_IN_WITHIN = "its window holds the calls of the lead-ins, too"
SERVED = 0.95
"""Share of the calls of a step that must be answered in time for its load to count as served."""
AFTER_DEADLINE_S = 10.0


class Step(NamedTuple):
    """What became of the calls of one load.

    Attributes:
        percent: The load in percent of capacity.
        offered: Calls made, without those of the lead-in.
        in_time: Calls answered in time.
        late: Calls answered later, or never.
        refused: Calls refused because a queue was full.
    """

    percent: int
    offered: int
    in_time: int
    late: int
    refused: int


class Overload(Workload):
    """Calls at random (Poisson) times, from half of capacity to one and a half times of it, step by step.

    The capacity is told as in ``rpc_ping`` with a ``load``. Each load comes for five times ``late_s`` before
    anything counts, so that a backlog shows; then the calls of ``step_s`` do. One counts for the goodput if
    it is answered within ``late_s`` of its intended time. Latency: of all that were answered, from send to
    answer. Afterwards every client must answer at once.
    """

    kind = "overload"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 10,
        "payload_bytes": 64,
        "callers": 128,
        "capacity_s": 0.3,
        "step_s": 0.4,
        "late_s": 0.1,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the steps take, each with its lead-in and its last calls' deadline.

        A poller answers after.
        """
        steps_s = len(PERCENTS) * (self.params["step_s"] + (LEAD_IN + 1) * self.params["late_s"])
        return SETUP_S + float(CAPACITY_WINDOWS * self.params["capacity_s"] + steps_s) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Go through the steps; no answer may be wrong, and afterwards every client must answer."""
        clients, seed = self.params["clients"], self.params["seed"]
        latency, intended, steps = Histogram(), Histogram(), []
        async with running(stack, FederationSpec(clients, f"{LEARNERS}:EchoLearner")):
            warm = self._caller(stack, AFTER_DEADLINE_S)
            capacity = await warm.capacity(self.params["callers"], self.params["capacity_s"])
            wrong = list(warm.wrong)
            async with session.measured():
                for percent in PERCENTS:
                    arrivals = arrivals_at(capacity.per_s * percent / 100, seed + percent)
                    lead_in, counted = await self._offer(stack, arrivals)
                    steps.append(Step(percent, counted.total, counted.in_time, counted.late, counted.refused))
                    latency.merge(counted.latency)
                    intended.merge(counted.intended)
                    wrong += lead_in.wrong + counted.wrong
                recovery_s, silent = await self._after(stack)
        values = judge(steps, self.params["step_s"])
        answered = {"latency": latency.to_dict(), "intended": intended.to_dict()} if latency.count else {}
        return Outcome(
            operations=sum(step.offered for step in steps),
            clients=clients,
            histograms=answered,  # that no call is answered in time is a result, too
            values=capacity.values() | {"recovery_s": recovery_s} | values,
            missing=of_the_window(GENERATOR_WITHIN) | of_the_log(LEAD_IN_WITHIN),
            wrong=wrong + silent,
        )

    async def _offer(self, stack: Stack, arrivals: Arrivals) -> tuple[Caller, Caller]:
        """Call at each arrival of one step; return the caller of the lead-in and the one that counts."""
        lead_in, counted = (self._caller(stack, self.params["late_s"]) for _ in range(2))
        counted_ns = time.monotonic_ns() + int(LEAD_IN * self.params["late_s"] * 1e9)
        end_ns = counted_ns + int(self.params["step_s"] * 1e9)
        while (intended_ns := (await arrivals.next()).intended_ns) <= end_ns:
            (lead_in if intended_ns < counted_ns else counted).begin(intended_ns)
        await lead_in.ended()
        await counted.ended()
        return lead_in, counted

    def _caller(self, stack: Stack, late_s: float) -> Caller:
        return Caller(stack, self.params["clients"], self.params["payload_bytes"], late_s)

    async def _after(self, stack: Stack) -> tuple[float, list[str]]:
        """Call every client; return the seconds until the first answer and what was wrong with any."""
        caller = self._caller(stack, AFTER_DEADLINE_S)
        start_ns = time.monotonic_ns()
        await caller.begin(start_ns)
        recovery_s = (time.monotonic_ns() - start_ns) / 1e9
        for _ in range(self.params["clients"] - 1):
            await caller.begin(time.monotonic_ns())
        wrong = [f"after the overload {line}" for line in caller.wrong]
        if caller.late or caller.refused:
            wrong.append(
                f"after the overload {caller.late} calls came too late and {caller.refused} were refused"
            )
        return recovery_s, wrong


def judge(steps: Sequence[Step], step_s: float) -> dict[str, float]:
    """Return the goodput of every step, the knee, and what the last of them lost.

    The knee is the highest load up to which every load was served: of whose calls :data:`SERVED` were
    answered in time; 0 if not even the first was.

    Args:
        steps: In ascending order of load, at least one.
        step_s: How long each was offered, in seconds.
    """
    values, knee = {}, 0.0
    for step in steps:
        values[f"goodput_{step.percent}_ops_per_s"] = step.in_time / step_s
    for step in steps:
        if step.in_time < SERVED * step.offered:
            break
        knee = step.percent / 100
    last, best = steps[-1], max(step.in_time for step in steps)
    offered = max(last.offered, 1)
    return values | {
        "knee_share": knee,
        "goodput_retention_share": last.in_time / best if best else 0.0,
        "refused_share": last.refused / offered,
        "late_share": last.late / offered,
    }
