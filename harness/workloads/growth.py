"""How the time of a broadcast grows with the number of clients."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, failures, running
from harness.workloads.transfers import misapplied

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_S = 40e-6
"""About how long a broadcast takes for each client within one process, in seconds."""
TURNS_WITHIN = "its window holds federations of two sizes, and their starts"


class BroadcastGrowth(Workload):
    """Broadcasts to ``few`` and to ``many`` clients in turn, in one process, moments apart.

    ``growth_ratio`` is the time of the median broadcast for each client among many, over the same among few
    moments before or after; of that the median over the turns. It is about 1 where the work for a client does
    not depend on how many there are, and ``many / few`` where it is in proportion to them (a broadcast of
    O(n²)). A machine that is faster or slower cancels out. Each of ``turns`` starts a federation of either
    size; the first quarter of its broadcasts warms up.
    """

    kind = "broadcast_growth"
    defaults: ClassVar[Mapping[str, Any]] = {
        "few": 10,
        "many": 100,
        "turns": 11,
        "operations": 16,
        "model_bytes": 4096,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long all broadcasts take, and a poller for each."""
        clients = self.params["few"] + self.params["many"]
        once_s = CLIENT_S * clients + 2 * poll_s
        return float(self.params["turns"] * (2 * SETUP_S + self.params["operations"] * once_s))

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Broadcast in turn; every client must have applied each model once.

        Raises:
            ValueError: There are not more clients among many than among few.
        """
        few, many = self.params["few"], self.params["many"]
        if not 0 < few < many:
            raise ValueError(f"few is {few} and many {many}: growth needs more of many")
        latency, ratios = Histogram(), []
        wrong: list[str] = []
        async with session.measured():
            for turn in range(self.params["turns"]):
                each_ns = {}
                for clients in (few, many) if turn % 2 else (many, few):
                    taken_ns = await self._turn(stack, clients, wrong)
                    each_ns[clients] = statistics.median(taken_ns) / clients
                    if clients == many:
                        latency.record_many(np.array(taken_ns, np.int64))
                ratios.append(each_ns[many] / each_ns[few])
        return Outcome(
            operations=latency.count,
            clients=many,
            histograms={"latency": latency.to_dict()},
            values={"growth_ratio": statistics.median(ratios)},
            missing=of_the_window(TURNS_WITHIN),
            wrong=wrong,
        )

    async def _turn(self, stack: Stack, clients: int, wrong: list[str]) -> list[int]:
        """Broadcast to so many; return how long each took in ns, once warm, and note what was wrong."""
        operations, taken_ns = self.params["operations"], []
        spec = FederationSpec(
            clients,
            f"{LEARNERS}:WatchingLearner",
            {"model_bytes": self.params["model_bytes"]},
            methods=("applied",),
        )
        async with running(stack, spec):
            for version in range(1, operations + 1):
                values = np.full(self.params["model_bytes"] // 4, version, np.float32)
                model = ModelState.from_arrays({"values": values}, version)
                start_ns = time.perf_counter_ns()
                outcomes = await stack.broadcast(model)
                if version > operations // 4:
                    taken_ns.append(time.perf_counter_ns() - start_ns)
                wrong += failures(outcomes)
            for client in range(clients):
                wrong += await misapplied(stack, client, operations)
        return taken_ns
