"""Floors timed beside what a workload does: in the same process, moments apart."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.records.derive import of_the_window
from harness.workloads.base import FLOOR_WITHIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.stats.histogram import Histogram

CHUNK_VALUES = 1 << 18
THREADS = 2
PACE = "pace"
"""Name of the one that is no floor, and whose CPU time is known."""
PACE_STEPS = 1500
PACE_S = 1e-4
"""About how long that takes."""


class Beside(ABC):
    """One floor.

    Args:
        model_bytes: Size of a model in bytes.
        clients: How many there are.

    Attributes:
        byte_s: About how long it takes for each byte of a model, in seconds.
    """

    byte_s: ClassVar[float]

    def __init__(self, model_bytes: int, clients: int) -> None:
        self._values = max(model_bytes // 4, 1)
        self._clients = clients
        self._warm = False

    def time(self) -> int:
        """Do it once and return how long that took in ns; the first time also once before, untimed.

        That warms the memory.
        """
        if not self._warm:
            self.work()
            self._warm = True
        start_ns = time.perf_counter_ns()
        self.work()
        return time.perf_counter_ns() - start_ns

    @abstractmethod
    def work(self) -> None:
        """Do it once."""

    @classmethod
    def expected_s(cls, model_bytes: int, clients: int) -> float:
        """Return about how long it takes once, in seconds."""
        return cls.byte_s * model_bytes


class Memcpy(Beside):
    """A copy of the model in memory that is warm."""

    byte_s = 1e-10

    def __init__(self, model_bytes: int, clients: int) -> None:
        super().__init__(model_bytes, clients)
        self._source, self._target = np.ones(self._values, np.float32), np.zeros(self._values, np.float32)

    def work(self) -> None:
        """Copy it once."""
        np.copyto(self._target, self._source)


class TwoThreads(Beside):
    """The numpy work of one round of federated averaging on two threads of one process.

    Each client adds its number to the model; the updates are multiplied by their weight and summed in
    pieces of 1 MiB, and the sum is divided. Nothing is sent, allocated or waited for.
    """

    byte_s = 3e-10

    @classmethod
    def expected_s(cls, model_bytes: int, clients: int) -> float:
        """Return about how long it takes once, in seconds."""
        return cls.byte_s * model_bytes * clients

    def __init__(self, model_bytes: int, clients: int) -> None:
        super().__init__(model_bytes, clients)
        self._model, self._sum = np.ones(self._values, np.float32), np.zeros(self._values, np.float32)
        self._updates = [np.zeros(self._values, np.float32) for _ in range(clients)]
        self._scratch = [np.zeros(CHUNK_VALUES, np.float32) for _ in range(THREADS)]

    def work(self) -> None:
        """Do the work of one round; the sum then holds the average."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._train, range(self._clients)))
            for update in self._updates:
                list(pool.map(self._reduce, [update] * THREADS, range(THREADS)))
            list(pool.map(self._divide, range(THREADS)))

    @property
    def average(self) -> np.ndarray:
        """What the last round came to, shape (values,), float32."""
        return self._sum

    def _train(self, client: int) -> None:
        np.add(self._model, client + 1, out=self._updates[client])

    def _part(self, part: int) -> tuple[int, int]:
        return self._values * part // THREADS, self._values * (part + 1) // THREADS

    def _reduce(self, update: np.ndarray, part: int) -> None:
        start, stop = self._part(part)
        if update is self._updates[0]:
            np.multiply(update[start:stop], 1, out=self._sum[start:stop])
            return
        for at in range(start, stop, CHUNK_VALUES):
            end = min(at + CHUNK_VALUES, stop)
            scaled = self._scratch[part][: end - at]
            np.multiply(update[at:end], 1, out=scaled)
            np.add(self._sum[at:end], scaled, out=self._sum[at:end])

    def _divide(self, part: int) -> None:
        start, stop = self._part(part)
        np.divide(self._sum[start:stop], self._clients, out=self._sum[start:stop])


class Pace(Beside):
    """A bit of the interpreter's work, always the same: how fast this process computes at the moment.

    It waits for nothing and is timed by the CPU time of its thread, so that what it takes from the window
    that it lies in is known.
    """

    byte_s = 0.0

    @classmethod
    def expected_s(cls, model_bytes: int, clients: int) -> float:
        """Return about how long it takes once, in seconds."""
        return PACE_S

    def time(self) -> int:
        """Do it once and return the CPU time that took in ns."""
        start_ns = time.thread_time_ns()
        self.work()
        return time.thread_time_ns() - start_ns

    def work(self) -> None:
        """Read and write a small dictionary."""
        counts: dict[int, int] = {}
        for number in range(PACE_STEPS):
            counts[number & 15] = counts.get(number & 7, 0) + number


FLOORS: dict[str, type[Beside]] = {
    "memcpy": Memcpy,
    "two_threads": TwoThreads,
    PACE: Pace,
}


def spoilt_by(name: str) -> dict[str, str]:
    """Return the metrics of the window that a floor within it spoils, and why; none for no floor.

    What the pace takes is known, so that the operations' CPU time and wake-ups can be told all the same.
    """
    spoilt = of_the_window(FLOOR_WITHIN) if name else {}
    return {metric: why for metric, why in spoilt.items() if name != PACE or not metric.endswith("_per_op")}


def floor_cpu_s(name: str, times_ns: Sequence[int]) -> float | None:
    """Return the CPU time in s that a floor took from its window, None where that is not known."""
    return sum(times_ns) / 1e9 if name == PACE else None


def against_floor(
    times_ns: Sequence[int], latency: Histogram, reference_ns: Sequence[int] = ()
) -> dict[str, float]:
    """Return a floor's median in s, and how far the median of ``latency`` (ns) lies above it.

    A latency is the floor plus what our code takes, so their ratio depends on how fast the machine does the
    one and the other. The difference (``overhead_s``) in units of a CPU reference that was timed in turn in
    the same process (``overhead_refs``) carries over further. Both are negative where the floor is slower.

    Both are the lower median, as in every ``latency_p50_s``: the mean of the middle two would be another
    number of the same times.

    Nothing where one of the two was never timed, because the time was up during the warm-up.

    Args:
        times_ns: The timings of the floor.
        latency: Of the operations.
        reference_ns: The timings of the CPU reference, :class:`Pace`; none where the floor is one itself.
    """
    if not times_ns or not latency.count:
        return {}
    floor_ns, median_ns = statistics.median_low(times_ns), latency.percentile(0.5)
    values = {"floor_s": floor_ns / 1e9, "floor_ratio": median_ns / floor_ns}
    if reference_ns:
        over_ns, unit_ns = median_ns - floor_ns, statistics.median_low(reference_ns)
        values |= {
            "overhead_s": over_ns / 1e9,
            "overhead_refs": over_ns / unit_ns,
            "reference_s": unit_ns / 1e9,
        }
    return values


def create_reference(floor: str) -> Pace | None:
    """Return the CPU reference that is timed in turn with a floor; None without one, or where it is that."""
    return Pace(0, 0) if floor and floor != PACE else None


def create_beside(name: str, model_bytes: int, clients: int) -> Beside | None:
    """Return a floor by name, None for an empty one.

    Raises:
        ValueError: The name is unknown.
    """
    if not name:
        return None
    if name not in FLOORS:
        raise ValueError(f"unknown floor {name!r}: use one of {', '.join(FLOORS)}")
    return FLOORS[name](model_bytes, clients)


def beside_s(name: str, model_bytes: int, clients: int, times: int) -> float:
    """Return about how long it takes to time a floor so many times and to warm it, in s; 0 for no floor."""
    return (times + 1) * FLOORS[name].expected_s(model_bytes, clients) if name in FLOORS else 0.0
