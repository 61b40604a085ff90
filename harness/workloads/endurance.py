"""Soak: mixed traffic for long. What grows, and whether it gets slower."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fedbench.tensors.model import ModelState
from harness.probes.memory import headline_bytes
from harness.probes.procfs import open_descriptors, thread_ids
from harness.probes.tree import process_tree
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.stats.slope import theil_slope
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, failures, running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEADLINE_S = 30.0
WRONG_KEPT = 20
WARM_SHARE = 0.25
"""Share of the samples from the beginning that are no part of a slope: what is first used is first made."""
LEAST_FOR_MEMORY_S = 60.0
"""Below so much time a slope of memory is that of a few pages, times sixty: nothing is said of it."""
TOO_SHORT = f"within less than {LEAST_FOR_MEMORY_S:g} s a slope of memory is noise"
LOOKS_SHARE = 0.1
"""Share of the time that the looks at all processes may take: one at sixty of them takes about 24 ms."""
NOTIFICATIONS, BROADCASTS = 0.10, 0.02
"""Shares of the traffic; the rest are calls."""


class Holdings(NamedTuple):
    """What all processes of a federation hold at one moment.

    Attributes:
        at_s: When, in seconds from the beginning.
        memory_bytes: As :func:`harness.probes.memory.headline_bytes`.
        fds: Open descriptors.
        threads: Threads.
        tasks: Tasks of this process's loop.
    """

    at_s: float
    memory_bytes: int
    fds: int
    threads: int
    tasks: int


class Soak(Workload):
    """Calls, notifications and broadcasts mixed at random, one after the other, for ``duration_s`` seconds.

    Latency: of the calls. All processes are looked at up to ``samples`` times, which takes a tenth of the
    time at most; what they hold has a slope (Theil) over all but the first quarter. That of memory is told
    from a minute on. ``late_early_ratio`` compares the calls of the last third with those of the first.
    """

    kind = "soak"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 5,
        "duration_s": 10.0,
        "model_bytes": 1 << 16,
        "samples": 40,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the traffic lasts."""
        return SETUP_S + float(self.params["duration_s"]) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Mix until the time is up; every client must have got all that it was sent, in order.

        Raises:
            ValueError: There are too few samples for a slope.
        """
        if self.params["samples"] < 4:
            raise ValueError(f"samples is {self.params['samples']}: a slope needs at least 4")
        clients = self.params["clients"]
        traffic = _Mix(stack, self.params)
        spec = FederationSpec(
            clients,
            f"{LEARNERS}:CountingLearner",
            {"model_bytes": self.params["model_bytes"]},
            methods=("counts",),
        )
        async with running(stack, spec):
            async with session.measured():
                held = await traffic.go_on()
            counts = await asyncio.gather(*(stack.ask(client, "counts") for client in range(clients)))
        missing = of_the_window("its window holds the looks at all processes, too")
        if self.params["duration_s"] < LEAST_FOR_MEMORY_S:
            missing["memory_growth_bytes_per_min"] = TOO_SHORT
        return Outcome(
            operations=traffic.operations,
            clients=clients,
            histograms={"latency": traffic.latency()},
            values=growth(held) | traffic.late_early(),
            missing=missing,
            wrong=traffic.wrong + traffic.lost(counts),
        )


class _Mix:
    """The traffic, and the account of it."""

    def __init__(self, stack: Stack, params: Mapping[str, Any]) -> None:
        self._stack, self._params = stack, params
        self._rng = random.Random(params["seed"])
        self._thirds = [Histogram() for _ in range(3)]
        self._events = [0] * params["clients"]
        self._version = 0
        self.operations = 0
        self.wrong: list[str] = []

    async def go_on(self) -> list[Holdings]:
        """Mix until the time is up or too much went wrong; return what was held meanwhile."""
        duration_ns = int(self._params["duration_s"] * 1e9)
        held: list[Holdings] = []
        looking_ns = 0
        start_ns = time.monotonic_ns()
        while (gone_ns := time.monotonic_ns() - start_ns) < duration_ns and len(self.wrong) < WRONG_KEPT:
            due = gone_ns >= len(held) * duration_ns // self._params["samples"]
            if due and looking_ns <= LOOKS_SHARE * gone_ns:
                held.append(_holdings(gone_ns / 1e9))
                looking_ns += time.monotonic_ns() - start_ns - gone_ns
            await self._one(self._thirds[3 * gone_ns // duration_ns])
            self.operations += 1
        held.append(_holdings((time.monotonic_ns() - start_ns) / 1e9))
        return held

    def latency(self) -> Any:
        """Return the latency of all calls, as plain data."""
        whole = Histogram()
        for third in self._thirds:
            whole.merge(third)
        return whole.to_dict()

    def late_early(self) -> dict[str, float]:
        """Return the p99 of the last third as a multiple of that of the first, if both hold calls."""
        early, _, late = self._thirds
        if not early.count or not late.count:
            return {}
        return {"late_early_ratio": late.percentile(0.99) / early.percentile(0.99)}

    def lost(self, counts: Sequence[Any]) -> list[str]:
        """Return a line for each client that did not count what it was sent."""
        return [
            f"client {client} was sent {[events, self._version]} events and models and counted {found[:2]}, "
            f"{found[2]} of them wrong"
            for client, (events, found) in enumerate(zip(self._events, counts, strict=True))
            if list(found) != [events, self._version, 0]
        ]

    async def _one(self, latency: Histogram) -> None:
        client, kind = self._rng.randrange(self._params["clients"]), self._rng.random()
        if kind < NOTIFICATIONS:
            self._stack.notify(client, self._events[client], intended_ns=0)
            self._events[client] += 1
        elif kind < NOTIFICATIONS + BROADCASTS:
            self._version += 1
            values = np.full(max(self._params["model_bytes"] // 4, 1), self._version, np.float32)
            model = ModelState.from_arrays({"values": values}, self._version)
            self.wrong += failures(await self._stack.broadcast(model))
        else:
            start_ns = time.monotonic_ns()
            answer = await self._stack.ping(client, self.operations, deadline_s=DEADLINE_S)
            latency.record(time.monotonic_ns() - start_ns)
            if answer != self.operations:
                self.wrong.append(f"ping {self.operations} was answered with {answer!r}")


def growth(held: Sequence[Holdings]) -> dict[str, float]:
    """Return the slopes per minute of what was held, without the beginning; nothing of fewer than two.

    Args:
        held: In order of time.
    """
    warm = held[int(len(held) * WARM_SHARE) :]
    if len({moment.at_s for moment in warm}) < 2:
        return {}
    minutes = [moment.at_s / 60 for moment in warm]
    names = {
        "memory_growth_bytes_per_min": "memory_bytes",
        "fds_growth_per_min": "fds",
        "threads_growth_per_min": "threads",
        "tasks_growth_per_min": "tasks",
    }
    return {
        metric: theil_slope(minutes, [getattr(moment, name) for moment in warm])
        for metric, name in names.items()
    }


def _holdings(at_s: float) -> Holdings:
    pids = process_tree(os.getpid())
    return Holdings(
        at_s,
        headline_bytes(pids),
        sum(map(open_descriptors, pids)),
        sum(len(thread_ids(pid)) for pid in pids),
        len(asyncio.all_tasks()),
    )
