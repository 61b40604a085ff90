"""The event loop's own hop, timed in turn with operations of the same process."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from harness.records.derive import of_the_window
from harness.stacks.floors import hops
from harness.workloads.base import FLOOR_WITHIN

if TYPE_CHECKING:
    from harness.stats.histogram import Histogram


class HopsInTurn:
    """Times hops when asked, and keeps what they took.

    A floor that is timed before and after a window says how fast the machine was then; one that is timed
    between the operations says how fast it was for them. The CPU time of the hops lies within the window that
    is measured from outside; it is known, so that it can be taken off.

    Attributes:
        times_ns: Of every hop.
        cpu_ns: CPU time that this thread took for all of them.
    """

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        self.cpu_ns = 0

    async def __call__(self, count: int) -> list[int]:
        """Time so many hops in ns."""
        begun_ns = time.thread_time_ns()
        times_ns = await hops(count)
        self.cpu_ns += time.thread_time_ns() - begun_ns
        self.times_ns += times_ns
        return times_ns

    @property
    def cpu_s(self) -> float | None:
        """CPU time of all hops in s, None where there were none."""
        return self.cpu_ns / 1e9 if self.times_ns else None

    def missing(self) -> dict[str, str]:
        """Return the metrics of a window that the hops spoil, and why; those of an operation are told."""
        spoilt = of_the_window(FLOOR_WITHIN) if self.times_ns else {}
        return {metric: why for metric, why in spoilt.items() if not metric.endswith("_per_op")}


def in_hops(latency: Histogram, hops_ns: list[int]) -> dict[str, float]:
    """Return the lower median of a latency (ns) in hops, and of the hops likewise."""
    return {"latency_hops": latency.percentile(0.5) / statistics.median_low(hops_ns)}
