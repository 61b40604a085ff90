"""What rounds hold and leave behind: the memory in use over many rounds of one process."""

from __future__ import annotations

import ctypes
import gc
import statistics
import tracemalloc
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.slope import theil_slope
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedbench.values import RoundRecord

_Sample = TypeVar("_Sample")

ROUND_S = 3e-3
"""About how long a round takes while allocations are traced, in seconds."""
WARM_SHARE = 0.25
"""Share of the rounds that are no part of the slope: what is first used is first made."""
LEAST_ROUNDS = 300
TRACED_WITHIN = "allocations are traced within its window, which takes time and memory"


class Leak(Workload):
    """Rounds of one small federation; after each ``every`` of them the memory in use is read.

    Memory in use is what was allocated and not freed, without the free space that allocators keep. Resident
    memory would not do: the arenas of glibc grow where nothing leaks, and hide what does. It is read after a
    garbage collection in two ways: as Python and numpy trace it (:mod:`tracemalloc`), and as glibc counts it
    over all of its arenas (``mallinfo2``), which sees what libraries allocate. ``leak_bytes_per_round`` is
    the larger of both slopes (Theil) over all but the first quarter of the rounds. What a federation keeps of
    every round on purpose, its history, is part of it.

    ``model_copies`` is the most that Python and numpy held at once, as a multiple of the model: the median of
    the warm samples, with what every round leaves behind taken off (the intercept of Theil's line). One more
    copy counts as one or more, which resident memory does not show where it fits into what an allocator kept.
    """

    kind = "leak"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 4,
        "rounds": 400,
        "every": 10,
        "model_bytes": 1 << 18,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long the rounds take."""
        return SETUP_S + float(self.params["rounds"] * (ROUND_S + 4 * poll_s))

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Run the rounds; every client must take part in each.

        Raises:
            ValueError: There are too few rounds for a slope.
        """
        clients, rounds = self.params["clients"], self.params["rounds"]
        if rounds * (1 - WARM_SHARE) < LEAST_ROUNDS:
            raise ValueError(f"rounds is {rounds}: a slope needs {LEAST_ROUNDS} beyond the first quarter")
        held: list[tuple[int, Sequence[int]]] = []
        peaks: list[tuple[int, int]] = []

        def after(record: RoundRecord) -> None:
            if record.number % self.params["every"] == 0:
                peaks.append((record.number, tracemalloc.get_traced_memory()[1]))
                held.append((record.number, in_use()))
                tracemalloc.reset_peak()

        spec = FederationSpec(
            clients,
            f"{LEARNERS}:DraftLearner",
            {"model_bytes": self.params["model_bytes"]},
            {"rounds": rounds},
        )
        tracemalloc.start()
        try:
            async with running(stack, spec), session.measured():
                history = await stack.run(on_round=after)
        finally:
            tracemalloc.stop()
        wrong = [
            f"round {record.number}: {record.failures}"
            for record in history.rounds
            if len(record.arrived) != clients
        ]
        return Outcome(
            operations=len(history.rounds),
            clients=clients,
            values={
                "leak_bytes_per_round": slope(held),
                "model_copies": level(peaks) / self.params["model_bytes"],
            },
            missing=of_the_window(TRACED_WITHIN),
            wrong=wrong,
        )


def slope(held: Sequence[tuple[int, Sequence[int]]]) -> float:
    """Return the largest slope of what was in use, in bytes a round.

    Args:
        held: Number of a round, and the bytes in use after it in each way of counting; in order.
    """
    warm = _warm(held)
    numbers = [float(number) for number, _ in warm]
    ways = zip(*(counts for _, counts in warm), strict=True)
    return max(theil_slope(numbers, [float(count) for count in counts]) for counts in ways)


def level(peaks: Sequence[tuple[int, int]]) -> float:
    """Return the bytes held at once, without what grows from round to round.

    Args:
        peaks: Number of a round, and the most bytes held since the sample before; in order.
    """
    warm = _warm(peaks)
    each = theil_slope([number for number, _ in warm], [peak for _, peak in warm])
    return statistics.median(peak - each * number for number, peak in warm)


def _warm(samples: Sequence[_Sample]) -> Sequence[_Sample]:
    return samples[int(len(samples) * WARM_SHARE) :]


def in_use() -> tuple[int, ...]:
    """Return the bytes in use as Python traces them and, where there is glibc 2.33 or newer, as that does."""
    gc.collect()
    traced, _ = tracemalloc.get_traced_memory()
    if _MALLINFO is None:
        return (traced,)
    found = _MALLINFO()
    return traced, found.uordblks + found.hblkhd


class _Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of glibc, see mallinfo(3)."""

    _fields_ = [  # type: ignore[mutable-override]  # as ctypes asks for it
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _mallinfo() -> Any:
    """Return glibc's function, None where there is none."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is not None:
        function.restype = _Mallinfo2
    return function


_MALLINFO = _mallinfo()
