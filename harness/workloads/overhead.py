"""Workload: what the probes themselves cost what they measure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.stats.paired import ratio
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.openloop import NUMBER_BYTES, padding

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_SLICES = "its windows are slices, of which the probes watch every other one"
"""Why CPU, wake-ups and rates are not measured here."""


class ProbeOverhead(Workload):
    """Calls in a closed loop, in slices of one run; the probes watch every other slice, memory included.

    A watched slice and its neighbour make a pair, and which comes first changes from pair to pair.
    ``probe_latency_ratio`` is the Hodges-Lehmann estimate of the ratio of their medians, watched over not,
    and ``probe_mean_ratio`` that of their means: a probe that holds a few calls up moves no median.
    ``probe_cpu_cores`` is the CPU time of the measuring process within the watched slices, for each second of
    them. What the probes read before and after a slice, while nothing runs, is not in it.
    """

    kind = "probe_overhead"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 10,
        "pairs": 12,
        "slice_s": 0.5,
        "warmup": 200,
        "payload_bytes": 64,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long all slices take."""
        return SETUP_S + 2 * float(self.params["pairs"] * self.params["slice_s"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Call through all slices, and check every answer.

        Raises:
            ValueError: The payload is too small to tell the calls apart.
        """
        latency, wrong = Histogram(), []
        behind = padding(self.params["payload_bytes"])
        medians_ns: dict[bool, list[float]] = {True: [], False: []}
        means_ns: dict[bool, list[float]] = {True: [], False: []}
        async with running(stack, FederationSpec(self.params["clients"], f"{LEARNERS}:EchoLearner")):
            for i in range(self.params["warmup"]):
                await stack.ping(i % self.params["clients"], b"warm", deadline_s=10.0)
            for pair in range(self.params["pairs"]):
                for watched in (True, False) if pair % 2 else (False, True):
                    if watched:
                        async with session.measured(memory=True):
                            calls, taken_ns, bad = await self._slice(stack, behind)
                    else:
                        calls, taken_ns, bad = await self._slice(stack, behind)
                    medians_ns[watched].append(float(calls.percentile(0.5)))
                    means_ns[watched].append(taken_ns / calls.count)
                    latency.merge(calls)
                    wrong += bad
        return Outcome(
            histograms={"latency": latency.to_dict()},
            values={
                "probe_latency_ratio": ratio(medians_ns[False], medians_ns[True]).value,
                "probe_mean_ratio": ratio(means_ns[False], means_ns[True]).value,
            },
            missing=of_the_window(IN_SLICES),
            wrong=wrong,
        )

    async def _slice(self, stack: Stack, behind: bytes) -> tuple[Histogram, int, list[str]]:
        """Call for a while; return the latency of the calls, how long all took in ns, and what was wrong."""
        latency, wrong = Histogram(), []
        begun_ns = time.perf_counter_ns()
        end_ns = begun_ns + int(self.params["slice_s"] * 1e9)
        now_ns, i = 0, 0
        while now_ns < end_ns:
            payload = i.to_bytes(NUMBER_BYTES, "little") + behind
            start_ns = time.perf_counter_ns()
            answer = await stack.ping(i % self.params["clients"], payload, deadline_s=10.0)
            now_ns = time.perf_counter_ns()
            latency.record(now_ns - start_ns)
            if answer != payload:
                wrong.append(f"ping {i} was answered with {answer!r}")
            i += 1
        return latency, now_ns - begun_ns, wrong
