"""The first result of each promise, as soon as both sides of one block are measured. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.report.promises import LABELS, less
from harness.suite import modes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Observation
    from harness.suite import Suite


class Watched(NamedTuple):
    """A promise in a mode, and the two cells that tell of it.

    Attributes:
        title: The promise and the mode, in words.
        arm: Arm and workload of push.
        against: Arm and workload of polling.
        metric: What is compared.
    """

    title: str
    arm: tuple[str, str]
    against: tuple[str, str]
    metric: str


def watched(suite: Suite) -> list[Watched]:
    """Return what to watch in a run of a suite: one reduction for each promise and mode."""
    found: dict[tuple[str, str], Watched] = {}
    for c in suite.criteria:
        if c.promise in LABELS and c.kind == "reduction":
            mode = modes_of(c, suite.arms)
            one = Watched(
                f"{LABELS[c.promise]}, {mode} mode",
                (c.arm, c.workload),
                (c.against, c.other_workload),
                c.metric,
            )
            found.setdefault((c.promise, mode), one)
    return list(found.values())


class FirstResults:
    """Waits until a block has both sides of a promise, and then says once what push saved in it.

    Args:
        watched: What to wait for.
    """

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._waiting = list(watched)
        self._values: dict[tuple[int, tuple[str, str], str], float] = {}

    def observed(self, observation: Observation) -> list[str]:
        """Take an observation; return a line for each promise that it is the first to tell of."""
        o = observation
        if o.status != "ok" or (o.disturbance is not None and o.disturbance.void):
            return []
        cell = (o.arm, o.workload)
        for metric in {w.metric for w in self._waiting if cell in (w.arm, w.against)}:
            value = o.metrics.get(metric)
            if value is not None:
                self._values[o.block, cell, metric] = value
        told = [(w, line) for w in self._waiting if cell in (w.arm, w.against) and (line := self._line(w, o))]
        for w, _ in told:
            self._waiting.remove(w)
        return [line for _, line in told]

    def _line(self, w: Watched, o: Observation) -> str:
        push = self._values.get((o.block, w.arm, w.metric))
        polling = self._values.get((o.block, w.against, w.metric))
        if push is None or not polling or polling < 0:
            return ""
        return f"first result: {w.title}: {less(1 - push / polling)} in block {o.block}, not yet decided"
